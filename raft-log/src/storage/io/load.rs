//! How much is being appended, for those who would use the disk meanwhile.

use std::sync::Mutex;
use std::time::Duration;

/// From this many bytes a second on, appends need the disk for themselves.
const BUSY_BYTES_PER_S_MIN: u64 = 16 << 20;
/// The rate is taken over at least this time.
const WINDOW: Duration = Duration::from_millis(200);

/// Tells whether a log is busy. Zeroing costs the disk as many bytes as the records that come there later, so under load
/// it halves what the disk can take: 8 entries of 64 KiB in flight went from 1,370 to 1,970 a second without it, 256 of
/// 1 KiB from 56,000 to 90,000. While little is written it costs nobody anything, and makes each sync cheaper.
#[derive(Debug, Default)]
pub(super) struct Load {
    last: Mutex<Look>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Look {
    at: Duration,
    bytes: u64,
    busy: bool,
}

impl Load {
    /// Whether the log is busy at `now`, when `bytes` have been written in all.
    pub(super) fn is_busy(&self, now: Duration, bytes: u64) -> bool {
        let mut last = self.last.lock().expect("nobody panics while holding the last look");
        let past = now.saturating_sub(last.at);
        if past >= WINDOW {
            let written = u128::from(bytes.saturating_sub(last.bytes)) * 1_000;
            let busy = written >= u128::from(BUSY_BYTES_PER_S_MIN) * past.as_millis();
            *last = Look { at: now, bytes, busy };
        }
        last.busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_busy_while_much_is_written_and_no_longer() {
        let load = Load::default();
        let mib = |count: u64| count << 20;
        let at = Duration::from_millis;
        assert!(!load.is_busy(at(100), mib(100)), "too soon to say");
        assert!(load.is_busy(at(1_000), mib(100)));
        assert!(load.is_busy(at(1_100), mib(100)), "the look is kept for a while");
        assert!(!load.is_busy(at(2_000), mib(115)));
        assert!(load.is_busy(at(3_000), mib(131)));
    }
}
