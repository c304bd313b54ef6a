//! How fast the log may be trimmed by age (hazards 35).
//!
//! A log whose entries all look too old at once is more likely a mistake, of a clock or of a setting, than an old log. So
//! trimming by age earns its bytes: in the time in which entries become too old, [`AGE_PACE_MAX`] times the whole log may
//! go, no more. In steady operation that is far above what falls due; a mistake takes hours, and is seen meanwhile.

use std::time::Duration;

use crate::storage::SegmentInfo;
use crate::types::LogIndex;

/// See [`RetentionOptions::age_pace_max`](crate::RetentionOptions::age_pace_max).
pub(crate) const AGE_PACE_MAX: u32 = 8;

/// What was earned and spent.
#[derive(Debug, Default)]
pub(super) struct AgePace {
    /// When it was looked at last.
    looked: Option<Duration>,
    earned_bytes: u128,
    /// Entries below are paid for.
    paid_to: LogIndex,
}

impl AgePace {
    /// How many of the `expired` oldest segments may go. What lies below `trimmed` is gone already and costs nothing.
    /// Nothing is earned while nothing is due, so the first to go waits for its share of the time.
    pub(super) fn allow(
        &mut self,
        segments: &[SegmentInfo],
        expired: usize,
        trimmed: LogIndex,
        now: Duration,
        (age_max, pace_max): (Duration, u32),
    ) -> usize {
        self.paid_to = self.paid_to.max(trimmed);
        let passed = now.saturating_sub(self.looked.replace(now).unwrap_or(now));
        let paid_to = self.paid_to;
        let due = segments[..expired].iter().filter(|segment| segment.end > paid_to);
        if due.clone().next().is_none() {
            self.earned_bytes = 0;
            return expired;
        }
        let log_bytes: u128 = segments.iter().map(|segment| u128::from(segment.bytes)).sum();
        let earned = log_bytes * u128::from(pace_max) * passed.as_millis();
        self.earned_bytes += earned / age_max.as_millis().max(1);
        for segment in due {
            let Some(left) = self.earned_bytes.checked_sub(u128::from(segment.bytes)) else { break };
            (self.earned_bytes, self.paid_to) = (left, segment.end);
        }
        segments[..expired].iter().take_while(|segment| segment.end <= self.paid_to).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::tests::segments;
    use super::*;

    const AGE_MAX: Duration = Duration::from_secs(4_000);

    fn allow(pace: &mut AgePace, expired: usize, trimmed: u64, second: u64) -> usize {
        pace.allow(&segments(), expired, LogIndex(trimmed), Duration::from_secs(second), (AGE_MAX, 8))
    }

    // Five segments: one is a fifth of the log, which at eight times the pace of 4,000 s is 100 s.
    #[test]
    fn a_log_that_is_too_old_at_once_goes_slowly() {
        let mut pace = AgePace::default();
        let gone: Vec<usize> =
            [0, 99, 100, 101, 199, 200, 399, 400].map(|second| allow(&mut pace, 4, 0, second)).into();
        assert_eq!(gone, [0, 0, 1, 1, 1, 2, 3, 4]);
    }

    #[test]
    fn nothing_is_earned_while_nothing_is_due() {
        let mut pace = AgePace::default();
        assert_eq!(allow(&mut pace, 0, 0, 0), 0);
        assert_eq!(allow(&mut pace, 0, 0, 1_000_000), 0);
        assert_eq!(allow(&mut pace, 1, 0, 1_000_050), 0, "50 s");
        assert_eq!(allow(&mut pace, 1, 0, 1_000_100), 1);
    }

    #[test]
    fn what_is_trimmed_already_costs_nothing() {
        let mut pace = AgePace::default();
        assert_eq!(allow(&mut pace, 3, 30, 0), 3);
        assert_eq!(allow(&mut pace, 4, 30, 10), 3);
        assert_eq!(allow(&mut pace, 4, 30, 100), 4);
    }
}
