//! The I/O thread's form under simulation: a task that waits as long as the simulated disk takes, then does everything
//! that is queued at once. A power loss in the midst of it is the disk's to simulate.

use super::engine::Engine;
use crate::exec;
use crate::sim::disk_delay;
use crate::sim::observe::{Deed, observe};
use crate::storage::shared::Shared;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The engine, until it is closed.
#[derive(Clone)]
struct Driven(Arc<Mutex<Option<Engine>>>);

/// What ends the task.
pub(crate) struct IoThread {
    shared: Arc<Shared>,
    engine: Driven,
}

impl IoThread {
    /// Does what is still queued and closes the engine.
    pub(crate) fn join(self) {
        let Some(mut engine) = self.engine.lock().take() else { return };
        let mut jobs = VecDeque::new();
        self.shared.queue.take(&mut jobs);
        engine.run(&mut jobs);
        engine.close();
    }
}

impl Driven {
    fn lock(&self) -> MutexGuard<'_, Option<Engine>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the task.
pub(crate) fn spawn(shared: Arc<Shared>, engine: Engine) -> io::Result<IoThread> {
    let engine = Driven(Arc::new(Mutex::new(Some(engine))));
    let _task = exec::worker("log-io", run(shared.clone(), engine.clone()))?;
    Ok(IoThread { shared, engine })
}

async fn run(shared: Arc<Shared>, engine: Driven) {
    let mut jobs = VecDeque::new();
    loop {
        let Some(pause) = engine.lock().as_ref().map(Engine::pause) else { return };
        let wait = pause.unwrap_or(Duration::MAX);
        let woken = tokio::time::timeout(wait, shared.queue.arrived()).await;
        disk_delay().await;
        let mut engine = engine.lock();
        let Some(engine) = engine.as_mut() else { return };
        match woken {
            Ok(()) => {
                shared.queue.take(&mut jobs);
                engine.run(&mut jobs);
            }
            Err(_) => engine.after_pause(),
        }
        observe(Deed::Marked(engine.marked_end));
    }
}
