//! What unfinished messages hold of a producer: bytes of its buffer, and the end of a flush.

use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

/// The room of one producer. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    buffer: Arc<Semaphore>,
    unfinished: Arc<Unfinished>,
}

/// The room of one message; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    _buffer: OwnedSemaphorePermit,
    _unfinished: TaskTrackerToken,
}

/// Messages by the flush that waits for them.
#[derive(Debug, Default)]
struct Unfinished(Mutex<Flushes>);

/// Invariant: those that were begun earlier are closed.
#[derive(Debug, Default)]
struct Flushes {
    /// What no flush waits for yet.
    open: TaskTracker,
    /// What earlier ones wait for, as far as it is unfinished: at most as many as there are messages.
    begun: Vec<TaskTracker>,
}

impl Rooms {
    /// Room for so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { buffer: Arc::new(Semaphore::new(bytes_max)), unfinished: Arc::default() }
    }

    /// Waits for room; whoever waits longest is first.
    pub(super) async fn reserve(&self, bytes: usize) -> Room {
        let permit = Arc::clone(&self.buffer).acquire_many_owned(permits(bytes)).await;
        self.with(permit.expect("the buffer is never closed"))
    }

    /// Room, if there is some now.
    pub(super) fn try_reserve(&self, bytes: usize) -> Option<Room> {
        match Arc::clone(&self.buffer).try_acquire_many_owned(permits(bytes)) {
            Ok(permit) => Some(self.with(permit)),
            Err(TryAcquireError::NoPermits) => None,
            Err(TryAcquireError::Closed) => unreachable!("the buffer is never closed"),
        }
    }

    fn with(&self, permit: OwnedSemaphorePermit) -> Room {
        Room { _buffer: permit, _unfinished: self.unfinished.lock().open.token() }
    }

    /// Waits until whatever has room now has given it back. Others that come meanwhile are not waited for, and do not wait.
    pub(super) async fn all_given_back(&self) {
        let begun = {
            let mut flushes = self.unfinished.lock();
            let before = std::mem::take(&mut flushes.open);
            before.close();
            flushes.begun.push(before);
            flushes.begun.retain(|flush| !flush.is_empty());
            flushes.begun.clone()
        };
        for flush in begun {
            flush.wait().await;
        }
    }
}

impl Unfinished {
    fn lock(&self) -> std::sync::MutexGuard<'_, Flushes> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("buffers are at most 1 GiB, and messages smaller than any buffer")
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_flush_waits_for_what_came_before_it_and_for_nothing_else() {
        let rooms = Rooms::new(100);
        rooms.all_given_back().await;
        let [first, second] = [rooms.reserve(1).await, rooms.reserve(1).await];
        let mut early = Box::pin(rooms.all_given_back());
        assert!(early.as_mut().now_or_never().is_none());
        let third = rooms.try_reserve(97).expect("a flush takes no room");
        let mut late = Box::pin(rooms.all_given_back());
        assert!(late.as_mut().now_or_never().is_none());
        drop(first);
        assert!(early.as_mut().now_or_never().is_none());
        drop(second);
        assert!(early.as_mut().now_or_never().is_some(), "the third came later");
        assert!(late.as_mut().now_or_never().is_none());
        drop(third);
        assert!(late.as_mut().now_or_never().is_some());
        assert!(rooms.all_given_back().now_or_never().is_some());
        assert!(rooms.unfinished.lock().begun.is_empty(), "what has ended is forgotten");
    }

    #[tokio::test]
    async fn room_is_bounded_and_comes_back() {
        let rooms = Rooms::new(10);
        let room = rooms.try_reserve(8).expect("room");
        assert!(rooms.try_reserve(3).is_none());
        drop(room);
        assert!(rooms.try_reserve(10).is_some());
    }
}
