//! When the youngest entry of a sealed segment was stamped.
//!
//! The stamp is in the entry, put there by the leader that proposed it, so every node reads the same; when a node's own
//! clock began a file says nothing about the messages in it (hazards 19). It is read once a segment, from its end: stamps
//! ascend along the log.

use std::collections::BTreeMap;

use crate::state_machine::StampReader;
use crate::storage::{Log, RecordKind, SegmentInfo};
use crate::types::{LogIndex, UnixMillis};

/// How many entries at a segment's end are looked at for one with a stamp; the others carry none.
const LOOKED_AT_MAX: u64 = 64;

/// See the module.
#[derive(Default)]
pub(super) struct Ages {
    /// By base, of sealed segments; nothing for one in which no stamp was found.
    known: BTreeMap<LogIndex, Option<UnixMillis>>,
}

impl Ages {
    /// How many of the oldest segments hold nothing that was stamped after `limit`. Reads from disk what it has not seen
    /// yet, from the oldest on, and stops at the first that is young enough. One without stamps goes with the next.
    pub(super) fn expired(
        &mut self,
        segments: &[SegmentInfo],
        limit: UnixMillis,
        youngest: impl Fn(&SegmentInfo) -> Option<UnixMillis>,
    ) -> usize {
        let first = segments.first().map_or(LogIndex(0), |segment| segment.base);
        self.known.retain(|base, _| *base >= first);
        let mut expired = 0;
        for (at, segment) in segments.iter().enumerate().take_while(|(_, segment)| segment.sealed) {
            match self.known.entry(segment.base).or_insert_with(|| youngest(segment)) {
                Some(stamp) if *stamp < limit => expired = at + 1,
                Some(_) => break,
                None => {}
            }
        }
        expired
    }
}

/// The last stamp in a segment; `None` if there is none or it cannot be read, which the scrub will see to.
pub(super) fn youngest_stamp(log: &Log, segment: &SegmentInfo, stamp_of: StampReader) -> Option<UnixMillis> {
    let first = segment.base.0.max(segment.end.0.saturating_sub(LOOKED_AT_MAX));
    (first..segment.end.0).rev().find_map(|index| {
        let records = log.read(LogIndex(index), LogIndex(index).next(), 1).ok()?;
        records.first().filter(|record| record.kind == RecordKind::Command).and_then(|record| stamp_of(&record.payload))
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::policy::tests::segments;
    use super::*;

    fn expired(ages: &mut Ages, limit: u64, stamps: [Option<u64>; 4]) -> (usize, u32) {
        let reads = Cell::new(0);
        let youngest = |segment: &SegmentInfo| {
            reads.set(reads.get() + 1);
            stamps[usize::try_from(segment.base.0 / 10).unwrap()].map(UnixMillis)
        };
        (ages.expired(&segments(), UnixMillis(limit), youngest), reads.get())
    }

    #[test]
    fn a_segment_is_as_old_as_its_youngest_entry_and_is_read_once() {
        let stamps = [Some(1_000), Some(2_000), Some(3_000), Some(4_000)];
        let mut ages = Ages::default();
        assert_eq!(expired(&mut ages, 1_000, stamps), (0, 1));
        assert_eq!(expired(&mut ages, 1_001, stamps), (1, 1));
        assert_eq!(expired(&mut ages, 3_001, stamps), (3, 2));
        assert_eq!(expired(&mut ages, 3_001, stamps), (3, 0));
        assert_eq!(expired(&mut ages, u64::MAX, stamps), (4, 0), "the newest segment stays");
    }

    #[test]
    fn a_segment_without_stamps_goes_with_the_next_and_never_alone() {
        assert_eq!(expired(&mut Ages::default(), 2_001, [None, Some(2_000), Some(3_000), None]), (2, 3));
        assert_eq!(expired(&mut Ages::default(), u64::MAX, [None; 4]), (0, 4));
        assert_eq!(expired(&mut Ages::default(), 2_500, [Some(1_000), None, Some(3_000), None]), (1, 3));
    }
}
