//! The thread that finishes flushes and checkpoints, one at a time.

use tokio::sync::{mpsc, oneshot};

use crate::exec::{self, Thread};
use crate::types::NodeId;

type Work = Box<dyn FnOnce() + Send>;

/// See the module.
pub(super) struct Flusher {
    work: mpsc::UnboundedSender<Work>,
    thread: Thread,
}

impl Flusher {
    pub(super) fn start(node: NodeId) -> std::io::Result<Flusher> {
        let (work, mut inbox) = mpsc::unbounded_channel::<Work>();
        let thread = exec::worker(format!("flush-{node}"), async move {
            while let Some(work) = inbox.recv().await {
                work();
            }
        })?;
        Ok(Flusher { work, thread })
    }

    /// Has `work` done; the answer comes when it is, or is dropped if it panics. The caller begins nothing else before.
    pub(super) fn start_work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (done, ended) = oneshot::channel();
        // Nobody waits for it when the replica stops.
        let work = move || drop(done.send(work()));
        // If the thread is gone, so is the answer.
        drop(self.work.send(Box::new(work)));
        ended
    }

    /// Ends the thread, with what it is doing.
    pub(super) fn stop(self) {
        drop(self.work);
        self.thread.join();
    }
}
