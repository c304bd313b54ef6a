//! The time that the leader writes on commands (hazards 19).
//!
//! Within a leadership the stamp advances by the monotonic clock, so a wall clock that jumps moves nothing. A new
//! leadership starts at its own wall clock or at the state's clock, whichever is later: time in the state never falls.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use raft_log::{
    env::Clock,
    types::{Term, UnixMillis},
};

#[derive(Clone, Copy)]
struct Start {
    term: Term,
    wall: UnixMillis,
    monotonic: Duration,
}

/// Gives the stamps of one node's leaderships.
pub struct StampClock {
    clock: Arc<dyn Clock>,
    start: Mutex<Option<Start>>,
}

impl StampClock {
    /// No leadership yet.
    pub fn new(clock: Arc<dyn Clock>) -> StampClock {
        StampClock { clock, start: Mutex::new(None) }
    }

    /// The time now, in the leadership of this term, over a state whose clock stands at `state_clock`.
    pub fn stamp(&self, term: Term, state_clock: UnixMillis) -> UnixMillis {
        let monotonic = self.clock.monotonic();
        let mut start = self.start.lock().unwrap_or_else(PoisonError::into_inner);
        let start = match *start {
            Some(current) if current.term == term => current,
            _ => *start.insert(Start { term, wall: self.clock.unix_millis().max(state_clock), monotonic }),
        };
        let elapsed = monotonic.saturating_sub(start.monotonic).as_millis();
        let elapsed = u64::try_from(elapsed).expect("a leadership lasts less than 584 million years");
        UnixMillis(start.wall.0.saturating_add(elapsed)).max(state_clock)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Default)]
    struct HandClock {
        wall: AtomicU64,
        millis: AtomicU64,
    }

    impl Clock for HandClock {
        fn unix_millis(&self) -> UnixMillis {
            UnixMillis(self.wall.load(Ordering::Relaxed))
        }
        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.millis.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_jumping_wall_clock_moves_nothing_within_a_leadership() {
        let clock = Arc::new(HandClock::default());
        let stamps = StampClock::new(Arc::clone(&clock) as Arc<dyn Clock>);
        clock.wall.store(5000, Ordering::Relaxed);
        assert_eq!(stamps.stamp(Term(1), UnixMillis(0)), UnixMillis(5000));
        clock.wall.store(1_000_000, Ordering::Relaxed);
        clock.millis.store(7, Ordering::Relaxed);
        assert_eq!(stamps.stamp(Term(1), UnixMillis(0)), UnixMillis(5007));
        assert_eq!(stamps.stamp(Term(2), UnixMillis(0)), UnixMillis(1_000_000), "a new leadership looks again");
    }

    #[test]
    fn time_never_falls_behind_the_state() {
        let clock = Arc::new(HandClock::default());
        let stamps = StampClock::new(Arc::clone(&clock) as Arc<dyn Clock>);
        clock.wall.store(100, Ordering::Relaxed);
        assert_eq!(stamps.stamp(Term(1), UnixMillis(900)), UnixMillis(900));
        clock.millis.store(5, Ordering::Relaxed);
        assert_eq!(stamps.stamp(Term(1), UnixMillis(900)), UnixMillis(905));
    }
}
