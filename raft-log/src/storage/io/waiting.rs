//! A log that lacks something of the machine: space, or file descriptors. No append fails because of that (hazards 9): the
//! job waits at the front, is tried again now and then, and what gives space back is done meanwhile.
//!
//! What is tried again is done again from its beginning, so only steps wait that allow it: a file that is written as a whole
//! (manifest, first hard state, the header of a new segment), a name that is given again. A sync of records is no such step: its
//! error is the end of the log whatever it says (hazards 31).
//!
//! What may overtake the job that waits:
//! * A **release**: it takes away whole old segments whose entries are purged. No job before it speaks of those.
//! * A **purge** of an entry that is written: it is applied and committed, so no job before it can change it. If it is not
//!   written yet, the purge waits behind its append.
//!
//! What may not:
//! * A **vote**, although it needs no space. openraft takes all appends and votes for one ordered sequence (`IOProgress`, its
//!   `flushed` is one mark for both): a vote that is told as saved says that every append before it is durable, and a follower would
//!   acknowledge to the old leader what it does not hold.
//! * Anything behind a **truncation**, a **begin** or a **repair**, which change what the log holds.

use super::engine::Engine;
use super::queue::Job;
use crate::planted::{self, Bug};
use crate::storage::StorageError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long until the next attempt.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What the first job waits for, if it waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// What the present attempt met.
    met: Option<Lack>,
    /// What the log waits for since the last attempt, and when the next one is due.
    since: Option<(Lack, Duration)>,
}

/// What passes when somebody else gives some of it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Space,
    Descriptors,
}

impl Lack {
    fn of(error: &io::Error) -> Option<Lack> {
        let descriptors = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(rustix::io::Errno::raw_os_error);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Lack::Space),
            _ if error.raw_os_error().is_some_and(|raw| descriptors.contains(&raw)) => Some(Lack::Descriptors),
            _ => None,
        }
    }
}

/// Whether a call failed for want of something that others may give back.
pub(crate) fn lacks_something(error: &io::Error) -> bool {
    Lack::of(error).is_some()
}

impl Waiting {
    /// Notes what a step that can be done again failed for.
    pub(super) fn met(&mut self, error: io::Error) -> io::Error {
        self.met = self.met.or(Lack::of(&error));
        error
    }

    /// Notes whether a step that can be done again failed for want of something.
    pub(super) fn try_again<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| self.met(error))
    }

    /// The present attempt has met nothing, or what it met is dealt with.
    pub(super) fn forget_attempt(&mut self) {
        self.met = None;
    }

    /// Whether the job that was tried last must wait.
    pub(super) fn is_begun(&self) -> bool {
        self.met.is_some()
    }

    /// The time until the next attempt has passed.
    pub(super) fn is_due(&mut self) {
        self.since = self.since.map(|(lack, _)| (lack, Duration::ZERO));
    }

    /// How long until the next attempt, if something waits.
    pub(super) fn pause(&self, now: Duration) -> Option<Duration> {
        self.since.map(|(_, due)| due.saturating_sub(now))
    }
}

impl Engine {
    /// Does a job unless the log has failed; `None` if it must be tried again.
    pub(super) fn attempt(
        &mut self,
        job: impl FnOnce(&mut Engine) -> Result<(), StorageError>,
    ) -> Option<Result<(), Arc<StorageError>>> {
        self.waiting.forget_attempt();
        match self.durable_end().and_then(|_| job(self)) {
            Ok(()) => {
                self.waiting.forget_attempt();
                Some(Ok(()))
            }
            Err(_) if self.waiting.is_begun() && !planted::is(Bug::FullDiskFatal) => None,
            Err(error) => Some(Err(self.shared.fail(error))),
        }
    }

    /// The first job waits: others go before it, and it is tried again later.
    pub(super) fn wait(&mut self) {
        let Some(lack) = self.waiting.met.take() else { return };
        let dir = self.shared.options.dir.display();
        match lack {
            _ if self.waiting.since.is_some() => {}
            Lack::Space => tracing::error!(%dir, "the disk is full; appends wait for space"),
            Lack::Descriptors => tracing::error!(%dir, "no file can be opened; appends wait for a file descriptor"),
        }
        self.preparer.starve(lack == Lack::Space);
        self.waiting.since = Some((lack, self.shared.env.clock.monotonic() + RETRY_AFTER));
        self.overtake();
    }

    /// Whether the jobs may be done in their order now; if the first one waits, others go before it.
    pub(super) fn may_go_on(&mut self) -> bool {
        let Some(pause) = self.waiting.pause(self.shared.env.clock.monotonic()) else { return true };
        pause.is_zero() || self.overtake() || self.shared.lock().failure.is_some()
    }

    /// A job was done.
    pub(super) fn waiting_is_over(&mut self) {
        if self.waiting.since.take().is_some() {
            self.preparer.starve(false);
            tracing::info!(dir = %self.shared.options.dir.display(), "the log goes on");
        }
    }

    /// Does what may go before the job that waits; `true` if that gave something back.
    fn overtake(&mut self) -> bool {
        let mut gave_back = false;
        let mut at = 0;
        while let Some(job) = self.pending.get(at) {
            let may = match job {
                Job::Release { .. } => true,
                Job::Purge { id, .. } => id.index < self.next,
                Job::Append(_) | Job::HardState { .. } => false,
                Job::Truncate { .. } | Job::BeginAfter { .. } | Job::Refill { .. } => break,
            };
            let job = if may && at > 0 { self.pending.remove(at) } else { None };
            let Some(job) = job else {
                at += 1;
                continue;
            };
            self.perform(job);
            if self.waiting.is_begun() {
                // It lacks the same, and stands in front now.
                self.waiting.forget_attempt();
                if let Some(job) = self.pending.pop_front() {
                    self.pending.insert(at, job);
                }
                break;
            }
            gave_back = true;
        }
        gave_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_give_back_is_waited_for_and_nothing_else() {
        let raw = |errno: rustix::io::Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        let lack = |errno| Lack::of(&raw(errno));
        use rustix::io::Errno;
        assert_eq!([Errno::NOSPC, Errno::DQUOT].map(lack), [Some(Lack::Space); 2]);
        assert_eq!([Errno::MFILE, Errno::NFILE].map(lack), [Some(Lack::Descriptors); 2]);
        assert_eq!([Errno::IO, Errno::ACCESS, Errno::NOENT].map(lack), [None; 3]);
        let mut waiting = Waiting::default();
        drop(waiting.try_again::<()>(Err(raw(Errno::IO))));
        assert!(!waiting.is_begun());
        drop(waiting.try_again::<()>(Err(raw(Errno::MFILE))));
        assert!(waiting.is_begun());
    }
}
