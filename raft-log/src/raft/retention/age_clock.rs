//! Whether the age of entries can be told, and by what time (hazards 19, 35).
//!
//! Deleting by age cannot be taken back, and a clock is easily wrong: set by hand, by a bad time server, by a machine that
//! was suspended. So ages are told only while most clocks of the group are known, all known ones agree, and this node's
//! own has not jumped. Otherwise nothing goes by age; the reason is named, and the size of the log still bounds it.

use std::fmt;
use std::time::Duration;

use crate::raft::clocks::{ClockReadings, millis};
use crate::types::{NodeId, UnixMillis};

/// A jump of the own clock is believed after as much time as it jumped by, and after this at the latest.
const JUMP_BELIEVED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Why nothing goes by age now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgePause {
    /// The wall clock of the leader moved by so many milliseconds more than time passed; less, if negative.
    ClockJumped {
        /// By how much.
        millis: i64,
    },
    /// The clocks of no majority are known.
    FewClocks {
        /// Known ones.
        known: usize,
        /// Voters.
        voters: usize,
    },
    /// The members' clocks disagree; the one that is furthest from the median is named.
    ClocksDisagree {
        /// Whose.
        node: NodeId,
        /// How far it is ahead of the median; behind, if negative.
        millis: i64,
    },
}

impl AgePause {
    /// Whether both name the same cause; how large it is may differ.
    pub(crate) fn same_cause(&self, other: &AgePause) -> bool {
        match (self, other) {
            (AgePause::ClocksDisagree { node: one, .. }, AgePause::ClocksDisagree { node: other, .. }) => one == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl fmt::Display for AgePause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgePause::ClockJumped { millis } => write!(f, "the leader's clock jumped by {}", Signed(*millis)),
            AgePause::FewClocks { known, voters } => write!(f, "only {known} of {voters} clocks are known"),
            AgePause::ClocksDisagree { node, millis } => {
                write!(f, "clocks disagree: node {node} is {}", Signed(*millis))
            }
        }
    }
}

/// Milliseconds, in the largest unit that tells most of it: +4d, -90s.
struct Signed(i64);

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
        let (sign, size) = (if self.0 < 0 { '-' } else { '+' }, self.0.unsigned_abs());
        let fits = UNITS.into_iter().find(|(unit, _)| size >= 2 * unit || size % unit == 0 && size > 0);
        let (unit, name) = fits.unwrap_or((1, "ms"));
        write!(f, "{sign}{}{name}", (size + unit / 2) / unit)
    }
}

/// See the module.
pub(super) struct AgeClock {
    disagreement_max: Duration,
    wall: WallWatch,
}

impl AgeClock {
    pub(super) fn new(disagreement_max: Duration) -> AgeClock {
        AgeClock { disagreement_max, wall: WallWatch::default() }
    }

    /// Looks at the own clocks; to be called at each look, whoever leads, so that no jump goes unseen.
    pub(super) fn look(&mut self, wall: UnixMillis, monotonic: Duration) {
        self.wall.look(wall, monotonic, self.disagreement_max);
    }

    /// The earliest time that the members' clocks show, by which nothing is older than it is.
    pub(super) fn now(&self, readings: &ClockReadings) -> Result<UnixMillis, AgePause> {
        let few = AgePause::FewClocks { known: readings.known(), voters: readings.voters() };
        let (earliest, latest) = readings.range().filter(|_| readings.majority()).ok_or(few)?;
        if latest.0 - earliest.0 > millis(self.disagreement_max) {
            let (node, millis) = readings.worst().ok_or(few)?;
            return Err(AgePause::ClocksDisagree { node, millis });
        }
        match self.wall.jumped() {
            Some(millis) => Err(AgePause::ClockJumped { millis }),
            None => Ok(earliest),
        }
    }
}

/// Watches the wall clock against the monotonic one.
#[derive(Debug, Default)]
struct WallWatch {
    /// How far the wall clock is ahead of the monotonic one, as it is believed.
    believed: Option<i128>,
    /// A jump away from that, and since when it is known.
    jump: Option<(i128, Duration)>,
}

impl WallWatch {
    fn look(&mut self, wall: UnixMillis, monotonic: Duration, bound: Duration) {
        let ahead = i128::from(wall.0) - i128::from(millis(monotonic));
        let jump = ahead - self.believed.unwrap_or(ahead);
        if jump.unsigned_abs() <= u128::from(millis(bound)) {
            // As time servers adjust it, or back where it was.
            (self.believed, self.jump) = (Some(ahead), None);
            return;
        }
        let since = self.jump.map_or(monotonic, |(_, since)| since);
        let waited = monotonic.saturating_sub(since);
        if waited >= JUMP_BELIEVED_AFTER || u128::from(millis(waited)) >= jump.unsigned_abs() {
            (self.believed, self.jump) = (Some(ahead), None);
        } else {
            self.jump = Some((jump, since));
        }
    }

    fn jumped(&self) -> Option<i64> {
        self.jump.map(|(by, _)| i64::try_from(by).unwrap_or(if by < 0 { i64::MIN } else { i64::MAX }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;
    const DAY: u64 = 86_400 * SECOND;
    const NOW: u64 = 20_000 * DAY;
    const BOUND: Duration = Duration::from_secs(10);

    /// What a clock says that was looked at once a second for this long, and then by these clocks.
    fn judged(readings: &ClockReadings) -> Result<UnixMillis, AgePause> {
        AgeClock::new(BOUND).now(readings)
    }

    #[test]
    fn ages_go_by_the_earliest_clock_while_all_agree() {
        let agree = ClockReadings::of(3, &[(1, NOW + 10 * SECOND), (2, NOW + 3), (3, NOW)]);
        assert_eq!(judged(&agree), Ok(UnixMillis(NOW)));
        assert_eq!(judged(&ClockReadings::of(3, &[(1, NOW), (2, NOW)])), Ok(UnixMillis(NOW)), "a node is away");
        assert_eq!(judged(&ClockReadings::of(1, &[(1, NOW)])), Ok(UnixMillis(NOW)), "there is no other");
    }

    // Hazards 19: the leader's own clock four days ahead, or another's.
    #[test]
    fn nothing_goes_by_age_while_clocks_disagree_or_too_few_are_known() {
        for node in [1, 2] {
            let wrong = |id| NOW + if id == node { 4 * DAY } else { id };
            let shown = [(1, wrong(1)), (2, wrong(2)), (3, wrong(3))];
            let pause = judged(&ClockReadings::of(3, &shown)).unwrap_err();
            let AgePause::ClocksDisagree { node: named, .. } = pause else { panic!("{pause:?}") };
            assert_eq!(named, NodeId(node));
            assert_eq!(pause.to_string(), format!("clocks disagree: node {node} is +4d"));
        }
        assert!(judged(&ClockReadings::of(3, &[(1, NOW), (2, NOW + 10 * SECOND + 1)])).is_err());
        let few = judged(&ClockReadings::of(3, &[(1, NOW)])).unwrap_err();
        assert_eq!(few.to_string(), "only 1 of 3 clocks are known");
        assert!(judged(&ClockReadings::of(0, &[])).is_err(), "no members are known");
    }

    /// A clock that was right for an hour, and then off by so much for so long.
    fn after_a_jump(by: i64, seconds: u64) -> AgeClock {
        let mut clock = AgeClock::new(BOUND);
        for second in 0..=3_600 + seconds {
            let wall = if second > 3_600 { NOW.saturating_add_signed(by) } else { NOW };
            clock.look(UnixMillis(wall + second * SECOND), Duration::from_secs(second));
        }
        clock
    }

    #[test]
    fn a_wall_clock_that_jumps_pauses_for_as_long_as_it_jumped() {
        let readings = ClockReadings::of(1, &[(1, NOW)]);
        let hour = 3_600 * SECOND as i64;
        for (by, text) in [(hour, "+60min"), (-hour, "-60min")] {
            let pause = after_a_jump(by, 1_000).now(&readings).unwrap_err();
            assert_eq!(pause, AgePause::ClockJumped { millis: by }, "{text}");
            assert!(after_a_jump(by, 3_600).now(&readings).is_err());
            assert!(after_a_jump(by, 3_601).now(&readings).is_ok(), "it is believed");
        }
        assert!(after_a_jump(9 * SECOND as i64, 1).now(&readings).is_ok(), "a correction");
        assert!(after_a_jump(400 * DAY as i64, 86_399).now(&readings).is_err());
        assert!(after_a_jump(400 * DAY as i64, 86_401).now(&readings).is_ok(), "a day is enough to notice");
    }

    #[test]
    fn a_clock_that_is_set_right_again_ends_the_pause() {
        let readings = ClockReadings::of(1, &[(1, NOW)]);
        let mut clock = after_a_jump(4 * DAY as i64, 5);
        assert!(clock.now(&readings).is_err());
        clock.look(UnixMillis(NOW + 3_606 * SECOND), Duration::from_secs(3_606));
        assert!(clock.now(&readings).is_ok());
    }

    #[test]
    fn durations_are_told_in_a_unit_that_suits() {
        let told = [(4 * DAY as i64, "+4d"), (-90_000, "-90s"), (1_500, "+1500ms"), (0, "+0ms"), (-7_300_000, "-2h")];
        for (millis, text) in told {
            assert_eq!(Signed(millis).to_string(), text);
        }
    }
}
