//! Which consumer groups nobody uses: those that a subscription made, by how long ago they were used.
//!
//! ```text
//!   receive, or polled while nothing comes (Housekeep) ─► used ─► idle ─┬─► never acknowledged: soon deleted
//!                                                                      └─► else: after the longest retention
//! ```
//! Idle time is time in which the broker group served, as the leader's regular commands say it: an outage or a clock
//! that jumps ends nobody's group. When a group was used is kept to the minute, so that receives rarely write it.

use std::collections::BTreeSet;

use raft_log::types::UnixMillis;

use super::codec::{DecodeError, Reader};
use crate::model::ConsumerGroupId;

/// Between two commands of the leader at most so much counts as served.
const STEP_MAX_MS: u64 = 2 * 60_000;
/// A use is noted if the last one that was lies so far back.
const COARSE_MS: u64 = 60_000;
/// A delivery keeps its group in use for as long as it is hidden, up to this.
const HIDDEN_MAX_MS: u64 = 60 * 60_000;

/// How an automatic group stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    /// Whether it ever acknowledged a message: it would get what it was done with again if it began anew.
    pub(crate) acknowledged: bool,
    /// The served time up to which it was in use.
    pub(crate) until_ms: u64,
}

/// Automatic groups by their use, and the time that was served.
#[derive(Debug, Default)]
pub(crate) struct IdleGroups {
    served: Served,
    by_use: BTreeSet<(Use, ConsumerGroupId)>,
}

/// The clock that idle time goes by, and its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Served {
    total_ms: u64,
    last: UnixMillis,
}

impl IdleGroups {
    /// The leader says that it serves; answers the clock's record.
    pub(crate) fn serve(&mut self, now: UnixMillis) -> [u8; 16] {
        let Served { total_ms, last } = self.served;
        let step = now.0.saturating_sub(last.0).min(STEP_MAX_MS);
        self.served = Served { total_ms: total_ms + step, last: now };
        let mut record = [0; 16];
        record[..8].copy_from_slice(&self.served.total_ms.to_le_bytes());
        record[8..].copy_from_slice(&self.served.last.0.to_le_bytes());
        record
    }

    pub(crate) fn load_served(&mut self, record: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new("served time", record);
        self.served = Served { total_ms: reader.u64()?, last: UnixMillis(reader.u64()?) };
        reader.finish()
    }

    pub(crate) fn new_use(&self) -> Use {
        Use { acknowledged: false, until_ms: self.served.total_ms }
    }

    /// The use of a group that is used now and hides what it gets for so long, if that is worth noting.
    pub(crate) fn used(&self, before: Use, hidden_ms: u64) -> Option<Use> {
        let until_ms = self.served.total_ms + hidden_ms.min(HIDDEN_MAX_MS);
        (until_ms >= before.until_ms + COARSE_MS).then_some(Use { until_ms, ..before })
    }

    pub(crate) fn list(&mut self, group: ConsumerGroupId, at: Use) {
        assert!(self.by_use.insert((at, group)), "a group is listed once");
    }

    pub(crate) fn unlist(&mut self, group: ConsumerGroupId, at: Use) {
        assert!(self.by_use.remove(&(at, group)), "an automatic group is listed by its use");
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_use.is_empty()
    }

    /// The group that was not used for the longest time, and at least for so long, among those that did or did not
    /// acknowledge anything.
    pub(crate) fn longest(&self, acknowledged: bool, idle_ms: u64) -> Option<ConsumerGroupId> {
        let from = (Use { acknowledged, until_ms: 0 }, ConsumerGroupId(0));
        let (at, group) = self.by_use.range(from..).next()?;
        let idle = at.until_ms.saturating_add(idle_ms) <= self.served.total_ms;
        (at.acknowledged == acknowledged && idle).then_some(*group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_or_a_jump_of_the_clock_is_no_idle_time() {
        let mut idle = IdleGroups::default();
        idle.serve(UnixMillis(1_000_000_000));
        let at = idle.new_use();
        idle.list(ConsumerGroupId(1), at);
        idle.serve(UnixMillis(1_000_060_000));
        assert_eq!(idle.longest(false, 60_001), None);
        assert_eq!(idle.longest(false, 60_000), Some(ConsumerGroupId(1)));
        assert_eq!(idle.longest(true, 0), None);
        idle.serve(UnixMillis(90_000_000_000));
        assert_eq!(idle.longest(false, 60_001 + STEP_MAX_MS), None);
        let record = idle.serve(UnixMillis(5));
        let mut loaded = IdleGroups::default();
        loaded.load_served(&record).unwrap();
        assert_eq!(loaded.served, idle.served);
        assert_eq!(idle.served.total_ms, 2 * STEP_MAX_MS + 60_000, "a clock that falls back takes nothing away");
    }

    #[test]
    fn a_use_is_noted_once_a_minute_and_a_long_delivery_counts() {
        let mut idle = IdleGroups::default();
        idle.serve(UnixMillis(60_000));
        let at = idle.new_use();
        assert_eq!(idle.used(at, 30_000), None);
        let long = idle.used(at, u64::MAX).unwrap();
        assert_eq!(long.until_ms, at.until_ms + HIDDEN_MAX_MS);
        assert_eq!(idle.used(long, 0), None);
        idle.serve(UnixMillis(120_000));
        assert_eq!(idle.used(at, 0), Some(Use { acknowledged: false, until_ms: 120_000 }));
    }
}
