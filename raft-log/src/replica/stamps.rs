//! The time that a leader stamps on what it proposes (hazards 19).
//!
//! ```text
//!   new leadership ─► max(floor, agreed time of the members' clocks) ─► goes on by the monotonic clock
//!                                  ▲ taken again, only ever forward, when more of them are known than before
//! ```
//! The floor is the greatest stamp in the caller's state, so time never falls. The own wall clock is one of the members'
//! and no more: a leader whose clock is four days ahead expires nothing, fires no delay and leaves no stamps behind that
//! time has to catch up with. Within a leadership a wall clock that jumps moves nothing.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::env::Clock;
use crate::raft::clocks::{ClockReadings, ahead, millis};
use crate::types::{Term, UnixMillis};

/// How often the clocks are read again while not all of them are known.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// An own clock that is further off than this is told.
const TOLD_MILLIS: u64 = 1_000;

/// See the module.
pub(crate) struct Stamps {
    clock: Arc<dyn Clock>,
    start: Mutex<Option<Start>>,
}

/// From where the time of a leadership goes on.
#[derive(Clone, Copy)]
struct Start {
    term: Term,
    time: UnixMillis,
    monotonic: Duration,
    /// How many clocks were known, and whether those are all.
    known: usize,
    complete: bool,
    looked: Duration,
}

impl Start {
    fn now(&self, monotonic: Duration) -> UnixMillis {
        UnixMillis(self.time.0.saturating_add(millis(monotonic.saturating_sub(self.monotonic))))
    }

    /// More clocks are known: their agreed time counts, if it is later.
    fn learn(&mut self, readings: &ClockReadings, monotonic: Duration) {
        self.looked = monotonic;
        self.complete = readings.complete();
        if readings.agreed().is_some() && readings.known() > self.known {
            self.known = readings.known();
            let now = self.now(monotonic);
            (self.time, self.monotonic) = (readings.agreed().map_or(now, |agreed| agreed.max(now)), monotonic);
        }
    }
}

impl Stamps {
    /// No leadership yet.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Stamps {
        Stamps { clock, start: Mutex::new(None) }
    }

    /// The time now in the leadership of this term, at least `floor`; `read` reads the clocks of the members. Only for who
    /// serves: by then a majority of the clocks is known.
    pub(crate) fn now(&self, term: Term, floor: UnixMillis, read: impl FnOnce() -> ClockReadings) -> UnixMillis {
        let monotonic = self.clock.monotonic();
        let mut start = self.lock();
        let start = match &mut *start {
            Some(current) if current.term == term => {
                if !current.complete && monotonic.saturating_sub(current.looked) >= LOOK_EVERY {
                    current.learn(&read(), monotonic);
                }
                current
            }
            other => other.insert(self.begin(term, floor, &read(), monotonic)),
        };
        start.now(monotonic).max(floor)
    }

    /// A guess at the time, for who does not lead.
    pub(crate) fn guess(&self, floor: UnixMillis, readings: &ClockReadings) -> UnixMillis {
        readings.agreed().unwrap_or_else(|| self.clock.unix_millis()).max(floor)
    }

    fn begin(&self, term: Term, floor: UnixMillis, readings: &ClockReadings, monotonic: Duration) -> Start {
        let agreed = readings.agreed();
        let error_ms = agreed.map_or(0, |agreed| ahead(self.clock.unix_millis(), agreed));
        if error_ms.unsigned_abs() > TOLD_MILLIS {
            tracing::error!(%term, error_ms, "this node's clock is not that of the group; stamps go by the group's");
        }
        // Without a majority, which can be while members change, time goes on where the state is.
        let known = if agreed.is_some() { readings.known() } else { 0 };
        let time = agreed.unwrap_or(floor).max(floor);
        Start { term, time, monotonic, known, complete: agreed.is_some() && readings.complete(), looked: monotonic }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Start>> {
        self.start.lock().expect("nobody panics while holding the start of a leadership")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::ManualClock;

    const DAY: u64 = 24 * 60 * 60 * 1000;
    const NOW: u64 = 20_000 * DAY;

    /// A node whose own clock shows `own`.
    fn node(own: u64) -> (Arc<ManualClock>, Stamps) {
        let clock = Arc::new(ManualClock::new());
        clock.set_unix_millis(UnixMillis(own));
        (clock.clone(), Stamps::new(clock))
    }

    fn three(shown: &[(u64, u64)]) -> impl FnOnce() -> ClockReadings + use<> {
        let readings = ClockReadings::of(3, shown);
        move || readings
    }

    #[test]
    fn a_jumping_wall_clock_moves_nothing_within_a_leadership() {
        let (clock, stamps) = node(NOW);
        let alone = |at| move || ClockReadings::of(1, &[(1, at)]);
        assert_eq!(stamps.now(Term(1), UnixMillis(0), alone(NOW)), UnixMillis(NOW));
        clock.set_unix_millis(UnixMillis(NOW + DAY));
        clock.advance(Duration::from_millis(700));
        assert_eq!(stamps.now(Term(1), UnixMillis(0), alone(NOW + DAY)), UnixMillis(NOW + 700));
        let looked = stamps.now(Term(2), UnixMillis(0), alone(NOW + DAY));
        assert_eq!(looked, UnixMillis(NOW + DAY), "a new leadership looks again");
    }

    #[test]
    fn time_never_falls_behind_the_state() {
        let (clock, stamps) = node(100);
        let read = || three(&[(1, 100), (2, 90), (3, 95)]);
        assert_eq!(stamps.now(Term(1), UnixMillis(900), read()), UnixMillis(900));
        clock.advance(Duration::from_millis(5));
        assert_eq!(stamps.now(Term(1), UnixMillis(900), read()), UnixMillis(905));
        assert_eq!(stamps.now(Term(1), UnixMillis(2_000), read()), UnixMillis(2_000));
    }

    // Hazards 19: else one clock ahead expires the log, fires every delay, then freezes time.
    #[test]
    fn a_leader_whose_clock_is_ahead_is_held_to_the_others() {
        let (clock, stamps) = node(NOW + 4 * DAY);
        let term = Term(7);
        let held = stamps.now(term, UnixMillis(NOW - 9), three(&[(1, NOW + 4 * DAY), (2, NOW)]));
        assert_eq!(held, UnixMillis(NOW), "only one other is known yet");
        clock.advance(Duration::from_millis(200));
        let held = stamps.now(term, held, three(&[(1, NOW + 4 * DAY), (2, NOW + 200), (3, NOW + 230)]));
        assert_eq!(held, UnixMillis(NOW + 230), "the median of all");
        clock.advance(Duration::from_millis(200));
        assert_eq!(stamps.now(term, held, || unreachable!("all are known")), UnixMillis(NOW + 430));
    }

    // Else a node that asks before it has heard anybody would begin its leadership at its own wrong time.
    #[test]
    fn without_a_majority_of_clocks_time_goes_on_where_the_state_is() {
        let (clock, stamps) = node(NOW + 4 * DAY);
        let floor = UnixMillis(NOW);
        assert_eq!(stamps.now(Term(1), floor, three(&[(1, NOW + 4 * DAY)])), floor);
        clock.advance(Duration::from_millis(100));
        let heard = three(&[(1, NOW + 4 * DAY), (2, NOW + 50_000)]);
        assert_eq!(stamps.now(Term(1), floor, heard), UnixMillis(NOW + 50_000));
    }

    #[test]
    fn a_clock_that_is_behind_holds_the_time_back_only_until_all_are_known() {
        let (clock, stamps) = node(NOW);
        let (term, floor) = (Term(7), UnixMillis(NOW - DAY));
        assert_eq!(stamps.now(term, floor, three(&[(1, NOW), (2, 5)])), floor);
        clock.advance(Duration::from_millis(99));
        let soon = stamps.now(term, floor, || unreachable!("it has looked just now"));
        assert_eq!(soon, UnixMillis(floor.0 + 99));
        clock.advance(Duration::from_millis(1));
        let all = stamps.now(term, floor, three(&[(1, NOW + 100), (2, 105), (3, NOW + 100)]));
        assert_eq!(all, UnixMillis(NOW + 100));
    }
}
