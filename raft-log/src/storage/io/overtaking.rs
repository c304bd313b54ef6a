//! What goes on while the first job waits for something that the machine lacks (see [`Waiting`](super::waiting::Waiting)).
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
use super::waiting::{Lack, RETRY_AFTER};
use crate::planted::{self, Bug};
use crate::storage::StorageError;
use std::sync::Arc;

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
        let Some(lack) = self.waiting.take_met() else { return };
        let dir = self.shared.options.dir.display();
        match lack {
            _ if self.waiting.goes_on() => {}
            Lack::Space => tracing::error!(%dir, "the disk is full; appends wait for space"),
            Lack::Descriptors => tracing::error!(%dir, "no file can be opened; appends wait for a file descriptor"),
        }
        self.preparer.starve(lack == Lack::Space);
        self.waiting.wait_until(lack, self.shared.env.clock.monotonic() + RETRY_AFTER);
        self.overtake();
    }

    /// Whether the jobs may be done in their order now; if the first one waits, others go before it.
    pub(super) fn may_go_on(&mut self) -> bool {
        let Some(pause) = self.waiting.pause(self.shared.env.clock.monotonic()) else { return true };
        pause.is_zero() || self.overtake() || self.shared.lock().failure.is_some()
    }

    /// A job was done.
    pub(super) fn waiting_is_over(&mut self) {
        if self.waiting.end() {
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
