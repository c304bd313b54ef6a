//! The clocks of a simulated node: they follow the simulated time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::env::Clock;
use crate::types::UnixMillis;

/// Where the wall clocks begin: 2026-01-01 UTC.
const START_MILLIS: i64 = 1_767_225_600_000;

/// Simulated time, with a wall clock that may be wrong.
#[derive(Debug)]
pub struct SimClock {
    start: Instant,
    skew_millis: AtomicI64,
    drift_percent: AtomicI64,
}

impl SimClock {
    /// A clock that begins now; to be called inside the simulation.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it depends on where it is called")]
    pub fn new() -> SimClock {
        SimClock { start: Instant::now(), skew_millis: AtomicI64::new(0), drift_percent: AtomicI64::new(0) }
    }

    /// Somebody sets the wall clock wrong by so much.
    pub fn set_skew_millis(&self, skew: i64) {
        self.skew_millis.store(skew, Ordering::Relaxed);
    }

    /// The wall clock gains so many milliseconds in each 100, or loses them.
    pub fn set_drift_percent(&self, drift: i64) {
        self.drift_percent.store(drift, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn unix_millis(&self) -> UnixMillis {
        let passed = i64::try_from(self.start.elapsed().as_millis()).expect("runs last seconds");
        let gained = passed * self.drift_percent.load(Ordering::Relaxed) / 100;
        let now = START_MILLIS + passed + gained + self.skew_millis.load(Ordering::Relaxed);
        UnixMillis(u64::try_from(now).unwrap_or(0))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
