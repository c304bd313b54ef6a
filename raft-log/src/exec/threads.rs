//! The machine's threads.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// The runtime that openraft's tasks and ours are spawned on.
pub(crate) type Runtime = openraft::impls::TokioRuntime;

/// Blocking calls may still run when a [`runtime`] ends; they are waited for this long.
const BLOCKING_CALLS_END: Duration = Duration::from_secs(1);

/// A running thread.
pub(crate) struct Thread(std::thread::JoinHandle<()>);

impl Thread {
    /// Waits for its end; called on the thread itself, it does not wait.
    pub(crate) fn join(self) {
        if self.0.thread().id() != std::thread::current().id() {
            // A panic on it was reported when it happened.
            drop(self.0.join());
        }
    }
}

/// Runs `work` where blocking is allowed.
///
/// # Errors
/// When it panicked, or the runtime is shutting down.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// Starts a thread.
///
/// # Errors
/// When the system has no thread left.
pub(crate) fn thread(name: impl Into<String>, run: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
    std::thread::Builder::new().name(name.into()).spawn(run).map(Thread)
}

/// Starts a thread that drives one future, which may block: nothing else runs on it. It has no timers.
///
/// # Errors
/// When the system has no thread left.
pub(crate) fn worker(name: impl Into<String>, work: impl Future<Output = ()> + Send + 'static) -> io::Result<Thread> {
    thread(name, || futures::executor::block_on(work))
}

/// Starts a thread with a runtime of its own, so that whatever else the process does cannot delay what runs there.
/// `launch` runs on it first; if that succeeds, the runtime goes on until `stop`, and all its tasks end with it.
///
/// # Errors
/// When the thread or its runtime cannot be made. What `launch` said comes in the result's inside.
pub(crate) async fn runtime<T: Send + 'static, E: Send + 'static>(
    name: impl Into<String>,
    stop: CancellationToken,
    launch: impl Future<Output = Result<T, E>> + Send + 'static,
) -> io::Result<(Result<T, E>, Thread)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (started, starting) = oneshot::channel();
    let thread = thread(name, move || {
        runtime.block_on(async move {
            let launched = launch.await;
            let goes_on = launched.is_ok();
            // The opener may be gone; then the token is dropped or cancelled soon.
            drop(started.send(launched));
            if goes_on {
                stop.cancelled().await;
            }
        });
        runtime.shutdown_timeout(BLOCKING_CALLS_END);
    })?;
    let launched = starting.await.map_err(|_| io::Error::other("its thread ended at once"))?;
    Ok((launched, thread))
}
