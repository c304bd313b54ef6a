//! The FIFO queue in front of the I/O thread.
//!
//! It is bounded by its callers: a replica bounds the bytes that it proposes and that it takes from its leader. What is
//! queued shows in [`crate::storage::StorageStats::unwritten_bytes`].

use crate::exec::sync::{Condvar, Mutex, MutexGuard};
use crate::storage::repair::Refill;
use crate::storage::{Done, HardState, Record};
use crate::types::{LogId, LogIndex};
use std::collections::VecDeque;
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

    /// It gives space back, says what may be given back, or mends what is old: nothing that comes later stands on it.
    fn only_tidies(&self) -> bool {
        matches!(self, Job::Purge { .. } | Job::Release { .. } | Job::Refill { .. })
    }

    /// Takes what comes next. A vote overtakes what only tidies (hazards 37). It never overtakes an append or a truncation:
    /// openraft takes a vote that is saved for a sign that everything from before it is (hazards 4).
    pub(super) fn next(jobs: &mut VecDeque<Job>) -> Option<Job> {
        let Some(Job::HardState { mut state, mut done }) = Job::next_vote(jobs) else { return jobs.pop_front() };
        // The last of several votes rules out all that they rule out. Where syncs are slow, who waits for one of them is
        // behind one save instead of many.
        while let Some(Job::HardState { state: later, done: its_done }) = Job::next_vote(jobs) {
            let before = done;
            state = later;
            done = Box::new(move |result| {
                before(result.clone());
                its_done(result);
            });
        }
        Some(Job::HardState { state, done })
    }

    /// Takes a vote if one comes next.
    fn next_vote(jobs: &mut VecDeque<Job>) -> Option<Job> {
        let tidying = jobs.iter().take_while(|job| job.only_tidies()).count();
        jobs.get(tidying).is_some_and(|job| matches!(job, Job::HardState { .. })).then(|| jobs.remove(tidying))?
    }
}

/// Why [`Queue::wait`] returned.
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
        Ok(())
    }

    /// Takes nothing more; what is queued is still done.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Moves all queued jobs into `jobs`, which must be empty; waits for one, at most for `timeout` if given.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn named(job: &Job) -> &'static str {
        match job {
            Job::Append(_) => "append",
            Job::HardState { .. } => "vote",
            Job::Purge { .. } => "purge",
            Job::Release { .. } => "release",
            _ => "other",
        }
    }

    fn append() -> Job {
        Job::Append(AppendJob { records: Vec::new(), epoch: 0, done: Box::new(drop) })
    }

    fn hard_state(term: u64) -> HardState {
        HardState { term: crate::types::Term(term), voted_for: None, committed: false }
    }

    fn vote(term: u64) -> Job {
        Job::HardState { state: hard_state(term), done: Box::new(drop) }
    }

    fn purge() -> Job {
        Job::Purge { id: LogId::default(), done: Box::new(drop) }
    }

    fn release() -> Job {
        Job::Release { below: LogIndex(0), done: Box::new(drop) }
    }

    fn order(jobs: impl IntoIterator<Item = Job>) -> Vec<&'static str> {
        let mut jobs: VecDeque<Job> = jobs.into_iter().collect();
        std::iter::from_fn(|| Job::next(&mut jobs)).map(|job| named(&job)).collect()
    }

    #[test]
    fn a_vote_overtakes_what_tidies_and_no_append() {
        assert_eq!(order([purge(), release(), vote(1), append()]), ["vote", "purge", "release", "append"]);
        assert_eq!(order([append(), vote(1)]), ["append", "vote"]);
        assert_eq!(order([purge(), append(), vote(1)]), ["purge", "append", "vote"]);
    }

    #[test]
    fn votes_that_come_one_after_the_other_are_saved_as_the_last_of_them() {
        assert_eq!(order([vote(1), purge(), vote(2)]), ["vote", "purge"]);
        assert_eq!(order([vote(1), append(), vote(2)]), ["vote", "append", "vote"]);
        let (told, answers) = std::sync::mpsc::channel();
        let voted = |term| {
            let told = told.clone();
            let done: Done = Box::new(move |_| told.send(term).unwrap());
            Job::HardState { state: hard_state(term), done }
        };
        let mut jobs: VecDeque<Job> = [voted(1), voted(2), voted(3)].into();
        let Some(Job::HardState { state, done }) = Job::next(&mut jobs) else { panic!("a vote comes next") };
        assert_eq!((state, jobs.len()), (hard_state(3), 0));
        done(Ok(()));
        assert_eq!(answers.try_iter().collect::<Vec<_>>(), [1, 2, 3], "in their order");
    }
}
