//! A clock that stands still until it is moved.

use crate::env::Clock;
use crate::types::UnixMillis;
use std::sync::Mutex;
use std::time::Duration;

/// Where the wall clock begins: 2026-01-01 UTC.
const START: UnixMillis = UnixMillis(1_767_225_600_000);

/// A clock that a test moves. The wall clock can also jump, without the monotonic one.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<(UnixMillis, Duration)>,
}

impl ManualClock {
    /// A clock at the begin of 2026.
    #[must_use]
    pub fn new() -> ManualClock {
        ManualClock { now: Mutex::new((START, Duration::ZERO)) }
    }

    /// Time passes: both clocks move.
    pub fn advance(&self, by: Duration) {
        let mut now = self.now.lock().expect("nothing panics while it holds the clock");
        now.0.0 += u64::try_from(by.as_millis()).expect("tests advance by less than an age");
        now.1 += by;
    }

    /// Somebody sets the wall clock.
    pub fn set_unix_millis(&self, to: UnixMillis) {
        self.now.lock().expect("nothing panics while it holds the clock").0 = to;
    }
}

impl Default for ManualClock {
    fn default() -> ManualClock {
        ManualClock::new()
    }
}

impl Clock for ManualClock {
    fn unix_millis(&self) -> UnixMillis {
        self.now.lock().expect("nothing panics while it holds the clock").0
    }

    fn monotonic(&self) -> Duration {
        self.now.lock().expect("nothing panics while it holds the clock").1
    }
}
