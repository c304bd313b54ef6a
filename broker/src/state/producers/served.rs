//! Time during which the group served, as against time that passed.

use raft_log::types::UnixMillis;

/// An entry counts for so much at most: while entries come, that is the time between them.
const STEP_MAX_MS: u64 = 1000;

/// The sum of the steps of the state's clock, none longer than [`STEP_MAX_MS`]: an outage, or a clock that jumps, lets
/// next to none of it pass, so that nobody is forgotten because nobody was served. A group in which entries are rare
/// counts less than the time that passed; it forgets later then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServedTime {
    pub(crate) total_ms: u64,
}

impl ServedTime {
    /// The state's clock has moved.
    pub(crate) fn pass(&mut self, from: UnixMillis, to: UnixMillis) {
        self.total_ms += to.0.saturating_sub(from.0).min(STEP_MAX_MS);
    }

    pub(crate) fn since(self, earlier_ms: u64) -> u64 {
        self.total_ms.checked_sub(earlier_ms).expect("served time does not go back")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_clock_counts_for_one_step() {
        let mut served = ServedTime::default();
        let mut clock = UnixMillis(0);
        for (to, total) in [(300, 300), (300, 300), (250, 300), (1300, 1300), (601_300, 2300), (602_300, 3300)] {
            let now = clock.max(UnixMillis(to));
            served.pass(clock, now);
            clock = now;
            assert_eq!(served.total_ms, total, "at {to}");
        }
        assert_eq!(served.since(2300), 1000);
    }
}
