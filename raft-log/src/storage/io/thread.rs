//! The thread that drives an [`Engine`].

use super::engine::Engine;
use super::queue::Woken;
use crate::exec::{self, Thread};
use crate::storage::StorageError;
use crate::storage::shared::Shared;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// The running I/O thread.
pub(crate) type IoThread = Thread;

/// Starts the I/O thread of `shared`.
pub(crate) fn spawn(shared: Arc<Shared>, engine: Engine) -> io::Result<IoThread> {
    exec::thread("log-io", move || {
        let guard = FailOnPanic(&shared);
        run(&shared, engine);
        drop(guard);
    })
}

fn run(shared: &Shared, mut engine: Engine) {
    let mut jobs = VecDeque::new();
    loop {
        match shared.queue.wait(&mut jobs, engine.pause()) {
            Woken::Jobs => engine.run(&mut jobs),
            Woken::Idle => engine.after_pause(),
            Woken::Closed => break,
        }
        #[cfg(tercet_sim)]
        crate::sim::observe::observe(crate::sim::observe::Deed::Marked(engine.marked_end));
    }
    engine.close();
}

/// A broken invariant on the I/O thread must stop the node, not hang it.
struct FailOnPanic<'a>(&'a Shared);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
            self.0.fail(StorageError::Io {
                action: "running the I/O thread of",
                file: self.0.options.dir.clone(),
                source: Arc::new(io::Error::other("it panicked")),
            });
        }
    }
}
