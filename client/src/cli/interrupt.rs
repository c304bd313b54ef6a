//! Ctrl-C (SIGINT) and SIGTERM in commands that have something to bring to an end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};

use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::{exit::Exit, notices::notice};

const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// Whether the user wants an end.
#[derive(Debug, Clone)]
pub(super) struct Interrupt {
    asked: CancellationToken,
    /// The number of the signal that asked; 0 before.
    by: Arc<AtomicU8>,
}

impl Interrupt {
    /// From now on the first signal asks for an end, and the second one is the end.
    pub(super) fn listen() -> Result<Interrupt, String> {
        let interrupt = Interrupt { asked: CancellationToken::new(), by: Arc::new(AtomicU8::new(0)) };
        let heard = interrupt.clone();
        let cannot = |error| format!("cannot listen for signals: {error}");
        let runtime = Builder::new_current_thread().enable_io().build().map_err(cannot)?;
        let (mut int, mut term) = {
            let _here = runtime.enter();
            (signal(SignalKind::interrupt()).map_err(cannot)?, signal(SignalKind::terminate()).map_err(cannot)?)
        };
        // On a thread of its own: the main one may be stuck in a write when it is to end.
        let listening = move || {
            runtime.block_on(async {
                loop {
                    let number = tokio::select! {
                        _ = int.recv() => SIGINT,
                        _ = term.recv() => SIGTERM,
                    };
                    heard.signal(number);
                }
            });
        };
        thread::Builder::new().name("signals".to_owned()).spawn(listening).map_err(cannot)?;
        Ok(interrupt)
    }

    fn signal(&self, number: u8) {
        if self.asked.is_cancelled() {
            std::process::exit(i32::from(Exit::by_signal(number).code()));
        }
        self.by.store(number, Ordering::Relaxed);
        notice("ending; once more to end at once");
        self.asked.cancel();
    }

    /// Cancelled as soon as an end is wanted.
    pub(super) fn asked(&self) -> &CancellationToken {
        &self.asked
    }

    /// How a command ends that was perhaps asked to; what failed is told before that.
    pub(super) fn exit(&self, done: bool) -> Exit {
        match (done, self.by.load(Ordering::Relaxed)) {
            (true, 0) => Exit::DONE,
            (true, by) => Exit::by_signal(by),
            (false, _) => Exit::FAILED,
        }
    }
}
