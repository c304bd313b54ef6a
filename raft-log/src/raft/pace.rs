//! A bound on bytes a second, for work that shares disk and network with publishing.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// How far a pace may run ahead of its rate: what was not used before is not made up for beyond this.
const BURST: Duration = Duration::from_millis(20);

/// Hands out bytes at a rate; whoever takes them waits until it is their turn. Shared by all who draw on the same
/// bound.
pub(crate) struct Pace {
    state: Mutex<State>,
}

struct State {
    bytes_per_second: u64,
    /// When everything handed out so far is paid for.
    paid: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: u64) -> Pace {
        Pace { state: Mutex::new(State { bytes_per_second: bytes_per_second.max(1), paid: None }) }
    }

    /// Changes the rate of what is handed out from now on.
    pub(crate) fn set_rate(&self, bytes_per_second: u64) {
        self.state.lock().expect("no holder of this lock panics").bytes_per_second = bytes_per_second.max(1);
    }

    /// Waits until `bytes` more are within the rate.
    pub(crate) async fn take(&self, bytes: usize) {
        let turn = self.turn(bytes, Instant::now());
        tokio::time::sleep_until(turn).await;
    }

    /// When it is the turn of `bytes` that are asked for `now`.
    fn turn(&self, bytes: usize, now: Instant) -> Instant {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        let turn = state.paid.map_or(now, |paid| paid.max(now.checked_sub(BURST).unwrap_or(now)));
        state.paid = Some(turn + Duration::from_secs_f64(bytes as f64 / state.bytes_per_second as f64));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_the_time_that_the_rate_says_and_idle_time_is_not_saved_up() {
        let pace = Pace::new(1000);
        let begin = Instant::now();
        let millis = |millis: u64| begin + Duration::from_millis(millis);
        let turns: Vec<Instant> = (0..4).map(|_| pace.turn(500, begin)).collect();
        assert_eq!(turns, [begin, millis(500), millis(1000), millis(1500)]);
        assert_eq!(pace.turn(500, millis(9000)), millis(9000) - BURST);
        assert_eq!(pace.turn(500, millis(9000)), millis(9500) - BURST);
        pace.set_rate(5000);
        assert_eq!(pace.turn(500, millis(9000)), millis(10_000) - BURST);
        assert_eq!(pace.turn(1, millis(9000)), millis(10_100) - BURST);
    }
}
