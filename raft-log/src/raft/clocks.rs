//! The wall clocks of the members, as this node knows them (hazards 19).
//!
//! Each follower says what its clock shows with every answer to its leader, heartbeats included, beside
//! [`Room`](crate::storage::Room). What a clock showed when it was heard goes on by this node's monotonic clock; a member
//! that is silent for [`FRESH`] counts as unknown. So a leader can tell what time it is even if its own clock is wrong,
//! as long as most clocks of the group are right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::env::Clock;
use crate::types::{NodeId, UnixMillis};

/// A clock that was not heard of for longer is unknown.
const FRESH: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Clocks {
    own_id: NodeId,
    clock: Arc<dyn Clock>,
    heard: Mutex<BTreeMap<NodeId, Heard>>,
}

/// What a member's clock showed, and when by this node's monotonic clock.
#[derive(Clone, Copy)]
struct Heard {
    wall: UnixMillis,
    at: Duration,
}

impl Clocks {
    pub(crate) fn new(own_id: NodeId, clock: Arc<dyn Clock>) -> Clocks {
        Clocks { own_id, clock, heard: Mutex::default() }
    }

    /// What this node's own shows.
    pub(crate) fn own(&self) -> UnixMillis {
        self.clock.unix_millis()
    }

    /// A follower has answered.
    pub(crate) fn heard(&self, from: NodeId, wall: UnixMillis) {
        self.lock().insert(from, Heard { wall, at: self.clock.monotonic() });
    }

    /// What the clocks of these voters show now.
    pub(crate) fn read(&self, voters: &BTreeSet<NodeId>) -> ClockReadings {
        let now = self.clock.monotonic();
        let fresh = |heard: &Heard| now.saturating_sub(heard.at) <= FRESH;
        let reading = |heard: Heard| UnixMillis(heard.wall.0.saturating_add(millis(now.saturating_sub(heard.at))));
        let heard = self.lock();
        let readings = voters.iter().filter_map(|id| match *id == self.own_id {
            true => Some((*id, self.own())),
            false => heard.get(id).copied().filter(fresh).map(|heard| (*id, reading(heard))),
        });
        ClockReadings { shown: readings.collect(), voters: voters.len() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Heard>> {
        self.heard.lock().expect("nobody panics while holding the clocks")
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the known clocks of the voters show at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClockReadings {
    shown: BTreeMap<NodeId, UnixMillis>,
    voters: usize,
}

impl ClockReadings {
    /// How many voters there are.
    pub(crate) fn voters(&self) -> usize {
        self.voters
    }

    /// How many are known.
    pub(crate) fn known(&self) -> usize {
        self.shown.len()
    }

    /// Whether every voter's is.
    pub(crate) fn complete(&self) -> bool {
        self.shown.len() == self.voters
    }

    /// Whether a majority's are.
    pub(crate) fn majority(&self) -> bool {
        self.shown.len() > self.voters / 2
    }

    /// The time of the group: the median of the clocks. While some are unknown it is a lower one, such that it is ahead of
    /// no right clock as long as only a minority of all is wrong. `None` without a majority.
    pub(crate) fn agreed(&self) -> Option<UnixMillis> {
        if !self.majority() {
            return None;
        }
        let mut shown: Vec<UnixMillis> = self.shown.values().copied().collect();
        shown.sort_unstable();
        let wrong_max = (self.voters - 1) / 2;
        let median = (shown.len() - 1) / 2;
        shown.get(median.min(shown.len() - 1 - wrong_max)).copied()
    }

    /// The earliest and the latest of them.
    pub(crate) fn range(&self) -> Option<(UnixMillis, UnixMillis)> {
        Some((*self.shown.values().min()?, *self.shown.values().max()?))
    }

    /// By how many milliseconds each known clock is ahead of the agreed time; negative: behind.
    pub(crate) fn errors(&self) -> BTreeMap<NodeId, i64> {
        let Some(agreed) = self.agreed() else { return BTreeMap::new() };
        self.shown.iter().map(|(id, shown)| (*id, ahead(*shown, agreed))).collect()
    }

    /// The member whose clock is furthest from the agreed time, and by how much.
    pub(crate) fn worst(&self) -> Option<(NodeId, i64)> {
        self.errors().into_iter().max_by_key(|(_, error)| error.unsigned_abs())
    }

    #[cfg(test)]
    pub(crate) fn of(voters: usize, shown: &[(u64, u64)]) -> ClockReadings {
        ClockReadings { shown: shown.iter().map(|(id, at)| (NodeId(*id), UnixMillis(*at))).collect(), voters }
    }
}

/// How far `one` is ahead of `other`.
pub(crate) fn ahead(one: UnixMillis, other: UnixMillis) -> i64 {
    i64::try_from(i128::from(one.0) - i128::from(other.0)).unwrap_or(if one > other { i64::MAX } else { i64::MIN })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::ManualClock;

    fn voters(ids: impl IntoIterator<Item = u64>) -> BTreeSet<NodeId> {
        ids.into_iter().map(NodeId).collect()
    }

    #[test]
    fn what_was_heard_goes_on_by_the_monotonic_clock_and_is_forgotten() {
        let clock = Arc::new(ManualClock::new());
        let clocks = Clocks::new(NodeId(1), clock.clone());
        clocks.heard(NodeId(2), UnixMillis(5_000));
        clocks.heard(NodeId(9), UnixMillis(1));
        clock.advance(Duration::from_secs(10));
        clock.set_unix_millis(UnixMillis(77));
        assert_eq!(clocks.read(&voters(1..=3)), ClockReadings::of(3, &[(1, 77), (2, 15_000)]), "9 has no vote");
        clock.advance(Duration::from_millis(1));
        assert_eq!(clocks.read(&voters(1..=3)), ClockReadings::of(3, &[(1, 78)]), "2 is silent");
    }

    // Hazards 19: whichever clock is wrong, and whichever is not known yet, the agreed time is never ahead of all right ones.
    #[test]
    fn a_minority_of_wrong_clocks_never_puts_the_time_ahead() {
        let (right, wrong) = (1_000, 900_000);
        for voters in [1_usize, 2, 3, 4, 5, 7] {
            let wrong_max = (voters - 1) / 2;
            for known in voters / 2 + 1..=voters {
                let shown: Vec<(u64, u64)> =
                    (0..known as u64).map(|id| (id, if id < wrong_max as u64 { wrong } else { right })).collect();
                let readings = ClockReadings::of(voters, &shown);
                assert_eq!(readings.agreed(), Some(UnixMillis(right)), "{known} of {voters} known");
            }
            let few: Vec<(u64, u64)> = (0..voters as u64 / 2).map(|id| (id, right)).collect();
            assert_eq!(ClockReadings::of(voters, &few).agreed(), None, "no majority of {voters}");
        }
    }

    #[test]
    fn a_minority_behind_does_not_hold_the_time_back_once_all_are_known() {
        assert_eq!(ClockReadings::of(3, &[(1, 1_000), (2, 5)]).agreed(), Some(UnixMillis(5)));
        let readings = ClockReadings::of(3, &[(1, 1_000), (2, 5), (3, 1_010)]);
        assert_eq!(readings.agreed(), Some(UnixMillis(1_000)));
        assert_eq!(readings.worst(), Some((NodeId(2), -995)));
        assert_eq!(readings.range(), Some((UnixMillis(5), UnixMillis(1_010))));
    }
}
