//! Which segments exceed a bound, and how many of them one trim may take; pure.

use crate::storage::SegmentInfo;
use crate::types::LogIndex;

/// How many of the oldest segments must go so that all of them take no more than this. The newest always stays.
pub(super) fn oversized(segments: &[SegmentInfo], bytes_max: u64) -> usize {
    let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let goes = |segment: &&SegmentInfo| {
        let too_many = segment.sealed && bytes > bytes_max;
        bytes -= segment.bytes;
        too_many
    };
    segments.iter().take_while(goes).count()
}

/// Where a trim ends that takes no more than a share of the log from what is not trimmed yet, though at least one
/// segment, of the `gone` oldest segments; `trimmed` if there is none.
pub(super) fn one_trim(segments: &[SegmentInfo], gone: usize, trimmed: LogIndex, percent_max: u8) -> LogIndex {
    let log_bytes: u128 = segments.iter().map(|segment| u128::from(segment.bytes)).sum();
    let share = log_bytes * u128::from(percent_max) / 100;
    let (mut to, mut taken) = (trimmed, 0);
    for segment in segments[..gone].iter().filter(|segment| segment.end > trimmed) {
        let with = taken + u128::from(segment.bytes);
        if taken > 0 && with > share {
            break;
        }
        (to, taken) = (segment.end, with);
    }
    to
}

/// The first entry behind the `gone` oldest segments.
pub(super) fn behind(segments: &[SegmentInfo], gone: usize) -> LogIndex {
    segments.get(gone).or(segments.last()).map_or(LogIndex(0), |segment| segment.base)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Five segments of 100 bytes and 10 entries each.
    pub(crate) fn segments() -> Vec<SegmentInfo> {
        let segment =
            |i: u64| SegmentInfo { base: LogIndex(i * 10), end: LogIndex(i * 10 + 10), bytes: 100, sealed: i < 4 };
        (0..5).map(segment).collect()
    }

    #[test]
    fn size_is_that_of_all_segments_and_the_newest_stays() {
        let gone = |bytes_max| oversized(&segments(), bytes_max);
        assert_eq!([500, 499, 200, 0].map(gone), [0, 1, 3, 4]);
        assert_eq!(oversized(&[], 0), 0);
        assert_eq!([0, 1, 4, 5].map(|gone| behind(&segments(), gone).0), [0, 10, 40, 40]);
    }

    // Hazards 35: however much exceeds a bound, one trim takes a share.
    #[test]
    fn one_trim_takes_a_share_of_the_log_and_a_segment_at_least() {
        let to = |gone, trimmed, percent| one_trim(&segments(), gone, LogIndex(trimmed), percent).0;
        assert_eq!(to(4, 0, 1), 10);
        assert_eq!(to(4, 0, 40), 20);
        assert_eq!(to(4, 0, 100), 40);
        assert_eq!(to(1, 0, 100), 10);
        assert_eq!(to(0, 0, 100), 0);
        assert_eq!(to(4, 20, 20), 30, "the next share");
        assert_eq!(to(4, 25, 20), 30, "a segment of which a part is trimmed");
        assert_eq!(to(4, 40, 100), 40);
        assert_eq!(to(2, 45, 100), 45, "it is never taken back");
    }
}
