//! The FIFO queue in front of the I/O thread.
//!
//! It is bounded by its callers: a replica bounds the bytes that it proposes and that it takes from its leader. What is
//! queued shows in [`crate::storage::StorageStats::unwritten_bytes`].

use crate::storage::repair::Refill;
use crate::storage::{Done, HardState, Record};
use crate::types::{LogId, LogIndex};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(tercet_sim))]
use std::time::Duration;

/// Records to append, and whom to tell.
pub(crate) struct AppendJob {
    pub(crate) records: Vec<Record>,
    pub(crate) epoch: u64,
    pub(crate) done: Done,
}

impl AppendJob {
    pub(super) fn payload_bytes(&self) -> usize {
        self.records.iter().map(|record| record.payload.len()).sum()
    }

    /// Whether all its records lie before `end`.
    pub(super) fn ends_before(&self, end: LogIndex) -> bool {
        self.records.last().is_none_or(|last| last.id.index < end)
    }
}

/// One thing to do, in order.
pub(crate) enum Job {
    Append(AppendJob),
    HardState { state: HardState, done: Done },
    Truncate { first_removed: LogIndex, last: Option<LogId>, epoch: u64, done: Done },
    Purge { id: LogId, done: Done },
    Release { below: LogIndex, done: Done },
    BeginAfter { id: LogId, epoch: u64, done: Done },
    Refill { refill: Box<Refill>, done: Done },
}

impl Job {
    /// Whom to tell.
    pub(super) fn into_done(self) -> Done {
        match self {
            Job::Append(AppendJob { done, .. })
            | Job::HardState { done, .. }
            | Job::Truncate { done, .. }
            | Job::Purge { done, .. }
            | Job::Release { done, .. }
            | Job::BeginAfter { done, .. }
            | Job::Refill { done, .. } => done,
        }
    }
}

/// Why [`Queue::wait`] returned.
#[cfg(not(tercet_sim))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// There are jobs.
    Jobs,
    /// Nothing came for the time given.
    Idle,
    /// The queue is closed and empty.
    Closed,
}

#[derive(Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    arrived: Condvar,
    #[cfg(tercet_sim)]
    pushed: tokio::sync::Notify,
}

#[derive(Default)]
struct Inner {
    jobs: VecDeque<Job>,
    closed: bool,
    /// The I/O thread sleeps and wants to be woken.
    waiting: bool,
}

impl Queue {
    /// Queues a job; gives it back if the queue is closed.
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(job);
        }
        inner.jobs.push_back(job);
        let wake = std::mem::take(&mut inner.waiting);
        drop(inner);
        if wake {
            self.arrived.notify_one();
        }
        #[cfg(tercet_sim)]
        self.pushed.notify_one();
        Ok(())
    }

    /// Takes nothing more; what is queued is still done.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
        #[cfg(tercet_sim)]
        self.pushed.notify_one();
    }

    /// Returns once there are jobs. A closed queue has none.
    #[cfg(tercet_sim)]
    pub(crate) async fn arrived(&self) {
        while self.lock().jobs.is_empty() {
            self.pushed.notified().await;
        }
    }

    /// Moves all queued jobs into `jobs`, which must be empty; waits for one, at most for `timeout` if given.
    #[cfg(not(tercet_sim))]
    pub(crate) fn wait(&self, jobs: &mut VecDeque<Job>, timeout: Option<Duration>) -> Woken {
        let mut inner = self.lock();
        loop {
            if !inner.jobs.is_empty() {
                inner.waiting = false;
                std::mem::swap(&mut inner.jobs, jobs);
                return Woken::Jobs;
            }
            if inner.closed {
                return Woken::Closed;
            }
            inner.waiting = true;
            inner = match timeout {
                None => self.arrived.wait(inner).expect("no thread panics while it holds the queue"),
                Some(timeout) => {
                    let (inner, result) =
                        self.arrived.wait_timeout(inner, timeout).expect("no thread panics while it holds the queue");
                    if result.timed_out() && inner.jobs.is_empty() && !inner.closed {
                        return Woken::Idle;
                    }
                    inner
                }
            };
        }
    }

    /// Moves all queued jobs into `jobs` without waiting.
    pub(crate) fn take(&self, jobs: &mut VecDeque<Job>) {
        std::mem::swap(&mut self.lock().jobs, jobs);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics while it holds the queue")
    }
}
