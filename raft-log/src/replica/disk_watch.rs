//! Notices a disk that has stopped finishing writes.
//!
//! A failed write stops the node; one that hangs says nothing. While the log holds entries that are not on this node's
//! disk, and none of them gets there for the limit, the node keeps out of elections ([`GateReason::DiskStalled`]): it
//! could not persist a vote, and as leader it would block its clients as soon as one more disk is slow. The first write
//! that is finished ends it.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::raft::gate_reason::GateReason;
use crate::raft::vote_gate::VoteGate;
use crate::storage::Log;
use crate::types::LogIndex;

/// Looks within one limit, so that a stall is noticed not much later than at its end.
const LOOKS_PER_LIMIT: u32 = 8;

/// Watches for the life of the core.
pub(crate) async fn run(log: Log, gate: VoteGate, limit: Duration) {
    let mut looks = tokio::time::interval(limit / LOOKS_PER_LIMIT);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stall = Stall::new(Instant::now());
    loop {
        let now = looks.tick().await;
        let durable = *log.durable().borrow();
        let wanted = log.bounds().last.map(|last| last.index);
        if stall.look(now, durable, wanted) < limit {
            gate.clear(GateReason::DiskStalled);
        } else {
            gate.close(GateReason::DiskStalled);
        }
    }
}

/// How long the disk has owed something.
struct Stall {
    durable: Option<LogIndex>,
    /// When the disk last got further, or owed nothing.
    since: Instant,
}

impl Stall {
    fn new(now: Instant) -> Stall {
        Stall { durable: None, since: now }
    }

    fn look(&mut self, now: Instant, durable: Option<LogIndex>, wanted: Option<LogIndex>) -> Duration {
        // A truncation takes both back, which is a finished write as well.
        if durable != self.durable || durable >= wanted {
            *self = Stall { durable, since: now };
        }
        now - self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_disk_that_owes_something_and_gets_nowhere_is_stalled() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let index = |index| Some(LogIndex(index));
        let mut stall = Stall::new(start);
        assert_eq!(stall.look(at(9), index(5), index(5)), Duration::ZERO, "idle");
        assert_eq!(stall.look(at(10), index(5), index(6)), Duration::from_secs(1));
        assert_eq!(stall.look(at(12), index(5), index(9)), Duration::from_secs(3));
        assert_eq!(stall.look(at(13), index(6), index(9)), Duration::ZERO, "slow, and not stalled");
        assert_eq!(stall.look(at(15), index(6), index(9)), Duration::from_secs(2));
        assert_eq!(stall.look(at(16), index(4), index(4)), Duration::ZERO, "truncated");
    }
}
