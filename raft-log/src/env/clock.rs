//! Time: the wall clock for stamps, the monotonic clock for durations. Never mix the two.

use crate::types::UnixMillis;
use std::time::{Duration, Instant};

/// A source of time. Implementations MUST make `monotonic` never fall; `unix_millis` may jump both ways.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time, UTC. May jump.
    fn unix_millis(&self) -> UnixMillis;
    /// Time since an arbitrary moment before the first call. Never falls.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub(super) struct RealClock {
    start: Instant,
}

impl RealClock {
    pub(super) fn new() -> RealClock {
        RealClock { start: Instant::now() }
    }
}

impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn unix_millis(&self) -> UnixMillis {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        UnixMillis(u64::try_from(since.as_millis()).expect("the year 584,556,019 is far"))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_clock_tells_this_century_and_never_falls() {
        let clock = RealClock::new();
        assert!(clock.unix_millis() > UnixMillis(1_600_000_000_000));
        let before = clock.monotonic();
        assert!(clock.monotonic() >= before);
    }
}
