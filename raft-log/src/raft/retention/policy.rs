//! Which segments exceed a bound; pure.

use std::time::Duration;

use crate::replica::RetentionOptions;
use crate::storage::SegmentInfo;
use crate::types::{LogIndex, UnixMillis};

/// How full the file system of the data folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DiskUse {
    pub(super) free: u64,
    pub(super) total: u64,
}

impl DiskUse {
    /// Bytes that must be freed to get below the mark.
    pub(super) fn excess(&self, high_water_percent: u8) -> u64 {
        let used = self.total.saturating_sub(self.free);
        used.saturating_sub(self.total / 100 * u64::from(high_water_percent.min(100)))
    }
}

/// The first entry that stays, by the bounds alone: the base of a segment. The newest segment always stays.
pub(super) fn keep_from(
    segments: &[SegmentInfo],
    now: UnixMillis,
    disk: DiskUse,
    options: &RetentionOptions,
) -> LogIndex {
    let Some(first) = segments.first() else { return LogIndex(0) };
    let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut excess = disk.excess(options.disk_high_water_percent);
    let mut keep_from = first.base;
    for pair in segments.windows(2) {
        let [oldest, next] = pair else { unreachable!("windows of two") };
        let too_old = options.age_max.is_some_and(|age_max| age(next.created, now) > age_max);
        let too_many = options.bytes_max.is_some_and(|bytes_max| bytes > bytes_max);
        if !oldest.sealed || !(too_old || too_many || excess > 0) {
            break;
        }
        bytes -= oldest.bytes;
        excess = excess.saturating_sub(oldest.bytes);
        keep_from = next.base;
    }
    keep_from
}

/// The age of the youngest entry of a segment, known by when the next one was begun.
fn age(next_created: UnixMillis, now: UnixMillis) -> Duration {
    Duration::from_millis(now.0.saturating_sub(next_created.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: DiskUse = DiskUse { free: 1000, total: 1000 };

    /// Five segments of 100 bytes and 10 entries each, one begun every 1,000 ms.
    fn segments() -> Vec<SegmentInfo> {
        let segment = |i: u64| SegmentInfo {
            base: LogIndex(i * 10),
            end: LogIndex(i * 10 + 10),
            bytes: 100,
            created: UnixMillis(i * 1000),
            sealed: i < 4,
        };
        (0..5).map(segment).collect()
    }

    fn options() -> RetentionOptions {
        RetentionOptions { disk_high_water_percent: 100, ..RetentionOptions::default() }
    }

    fn kept(now: u64, disk: DiskUse, options: RetentionOptions) -> u64 {
        keep_from(&segments(), UnixMillis(now), disk, &options).0
    }

    #[test]
    fn without_bounds_everything_stays() {
        assert_eq!(kept(1 << 40, DiskUse { free: 0, total: 1000 }, options()), 0);
        assert_eq!(keep_from(&[], UnixMillis(0), ROOM, &options()), LogIndex(0));
    }

    // A segment is as old as its youngest entry: it goes when all of it is too old.
    #[test]
    fn age_counts_from_the_youngest_entry_of_a_segment() {
        let options = RetentionOptions { age_max: Some(Duration::from_millis(2000)), ..options() };
        assert_eq!(kept(3000, ROOM, options), 0);
        assert_eq!(kept(3001, ROOM, options), 10);
        assert_eq!(kept(5001, ROOM, options), 30);
        assert_eq!(kept(1 << 40, ROOM, options), 40, "the newest segment stays");
    }

    #[test]
    fn size_is_that_of_all_segments() {
        let options = |bytes| RetentionOptions { bytes_max: Some(bytes), ..options() };
        assert_eq!(kept(0, ROOM, options(500)), 0);
        assert_eq!(kept(0, ROOM, options(499)), 10);
        assert_eq!(kept(0, ROOM, options(200)), 30);
        assert_eq!(kept(0, ROOM, options(0)), 40);
    }

    #[test]
    fn above_the_high_water_mark_as_much_goes_as_is_missing() {
        let options = RetentionOptions { disk_high_water_percent: 90, ..options() };
        assert_eq!(kept(0, DiskUse { free: 100, total: 1000 }, options), 0);
        assert_eq!(kept(0, DiskUse { free: 99, total: 1000 }, options), 10);
        assert_eq!(kept(0, DiskUse { free: 0, total: 1500 }, options), 20);
        assert_eq!(kept(0, DiskUse { free: 0, total: 15_000 }, options), 40);
    }

    #[test]
    fn a_clock_that_went_back_expires_nothing() {
        let options = RetentionOptions { age_max: Some(Duration::ZERO), ..options() };
        assert_eq!(kept(0, ROOM, options), 0);
    }
}
