//! A clock that goes, and shows the wrong time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use raft_log::env::{Clock, Env};
use raft_log::types::UnixMillis;

/// The machine's clocks; somebody has set the wall clock wrong.
pub struct WrongClock {
    env: Env,
    ahead_ms: AtomicI64,
}

impl WrongClock {
    pub fn new(ahead_ms: i64) -> WrongClock {
        WrongClock { env: Env::real(), ahead_ms: AtomicI64::new(ahead_ms) }
    }

    pub fn set_ahead_ms(&self, ahead_ms: i64) {
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }
}

impl Clock for WrongClock {
    fn unix_millis(&self) -> UnixMillis {
        UnixMillis(self.env.clock.unix_millis().0.saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Duration {
        self.env.clock.monotonic()
    }
}
