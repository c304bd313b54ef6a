//! How fast followers that are far behind are fed, against how much is published meanwhile.
//!
//! Entries that are no longer in memory come from the disk that publishing syncs to, and go over the network that it
//! replicates through. So they get a rate of their own: above what is appended at the time by a fixed amount, so that a
//! follower comes closer however much is published, and nothing is left idle when nothing is published.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::raft::pace::Pace;
use crate::storage::Log;

/// How much faster than it grows the log is sent, in bytes a second: 5 GiB are caught up in about two minutes.
const CLOSING_RATE: f64 = 48e6;
/// Below this, nobody publishes whom catching up could disturb.
const IDLE_APPEND_RATE: f64 = 1e6;
/// The rate when nobody publishes.
const IDLE_RATE: f64 = 512e6;
/// How often the rate follows what is appended.
const ADAPT_INTERVAL: Duration = Duration::from_millis(200);

/// The rate of all followers together.
pub(crate) struct CatchUpPace {
    pace: Pace,
    log: Log,
    seen: Mutex<Option<Seen>>,
}

/// What was appended when the rate was last adapted.
#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    bytes_written: u64,
}

impl CatchUpPace {
    pub(crate) fn new(log: Log) -> CatchUpPace {
        CatchUpPace { pace: Pace::new(CLOSING_RATE as u64), log, seen: Mutex::new(None) }
    }

    /// Waits until `bytes` more may be sent.
    pub(crate) async fn take(&self, bytes: usize) {
        self.adapt(Instant::now());
        self.pace.take(bytes).await;
    }

    fn adapt(&self, now: Instant) {
        let mut seen = self.seen.lock().expect("no holder of this lock panics");
        if seen.is_some_and(|seen| now.saturating_duration_since(seen.at) < ADAPT_INTERVAL) {
            return;
        }
        let bytes_written = self.log.stats().bytes_written;
        let before = seen.replace(Seen { at: now, bytes_written });
        if let Some(before) = before {
            let elapsed = now.saturating_duration_since(before.at).as_secs_f64();
            self.pace.set_rate(rate((bytes_written - before.bytes_written) as f64 / elapsed) as u64);
        }
    }
}

/// Bytes a second for the followers, when so many are appended.
fn rate(appended: f64) -> f64 {
    if appended < IDLE_APPEND_RATE { IDLE_RATE } else { appended + CLOSING_RATE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_comes_closer_at_every_load() {
        assert_eq!(rate(0.0), IDLE_RATE);
        for appended in [2e6, 50e6, 400e6] {
            assert!(rate(appended) - appended >= CLOSING_RATE, "{appended}");
        }
    }
}
