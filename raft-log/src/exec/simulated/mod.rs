//! Everything on one thread of the machine: what are threads there are fibers of a simulated process here.
//!
//! A fiber has a stack of its own, so the same code that blocks on a machine stops here at each call of the disk, each
//! wait, and whatever else the group does goes on meanwhile: reads between a write and its sync, votes while
//! space is awaited, releases while a file is zeroed. The seed decides who goes on when.

mod fiber;
pub(crate) mod sync;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use fiber::Fiber;

pub(crate) use fiber::at_disk;

/// The runtime that openraft's tasks and ours are spawned on.
pub(crate) type Runtime = crate::sim::SimRuntime;

/// What would be a thread.
pub(crate) struct Thread(Option<Fiber>);

impl Thread {
    /// Waits for its end. Nobody waits for a thread of a killed process.
    pub(crate) fn join(self) {
        if let Some(fiber) = self.0 {
            fiber.join();
        }
    }
}

/// Runs `work` beside everything else.
///
/// # Errors
/// When it panicked, or its process is killed.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, ended) = oneshot::channel();
    let _runs_by_itself = Fiber::spawn(move || drop(done.send(work())));
    ended.await.map_err(io::Error::other)
}

/// Starts a thread.
#[expect(clippy::unnecessary_wraps, reason = "on a machine this may fail")]
pub(crate) fn thread(_name: impl Into<String>, run: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
    Ok(Thread(Some(Fiber::spawn(run))))
}

/// Drives the future on a fiber of its own, where it may block.
pub(crate) fn worker(name: impl Into<String>, work: impl Future<Output = ()> + Send + 'static) -> io::Result<Thread> {
    thread(name, move || {
        let mut work = pin!(work);
        loop {
            let waker = fiber::waker();
            match work.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(()) => return,
                Poll::Pending => fiber::park(None),
            }
        }
    })
}

/// Runs `launch` here. The tasks that it starts end with the process.
pub(crate) async fn runtime<T: Send + 'static, E: Send + 'static>(
    _name: impl Into<String>,
    _stop: CancellationToken,
    launch: impl Future<Output = Result<T, E>> + Send + 'static,
) -> io::Result<(Result<T, E>, Thread)> {
    Ok((launch.await, Thread(None)))
}
