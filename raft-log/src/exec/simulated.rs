//! Everything on one thread: what are threads on a machine are tasks of a simulated process here.

use std::future::Future;
use std::io;

use openraft::AsyncRuntime as _;
use tokio_util::sync::CancellationToken;

/// The runtime that openraft's tasks and ours are spawned on.
pub(crate) type Runtime = crate::sim::SimRuntime;

/// What would be a thread: a task, which ends by itself or with its process.
pub(crate) struct Thread;

impl Thread {
    /// Nothing to wait for: only one thing runs at a time here.
    pub(crate) fn join(self) {}
}

/// Runs `work` on the spot.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    Ok(work())
}

/// Drives the future as a task.
#[expect(clippy::unnecessary_wraps, reason = "on a machine this may fail")]
pub(crate) fn worker(_name: impl Into<String>, work: impl Future<Output = ()> + Send + 'static) -> io::Result<Thread> {
    drop(Runtime::spawn(work));
    Ok(Thread)
}

/// Runs `launch` here. The tasks that it starts end with the process.
pub(crate) async fn runtime<T: Send + 'static, E: Send + 'static>(
    _name: impl Into<String>,
    _stop: CancellationToken,
    launch: impl Future<Output = Result<T, E>> + Send + 'static,
) -> io::Result<(Result<T, E>, Thread)> {
    Ok((launch.await, Thread))
}
