//! The segments of the log and where each ends: what is written, as readers and the I/O thread see it.

use super::manifest::Listed;
use super::positions::{Position, Positions};
use super::report::SegmentInfo;
use super::segment::Segment;
use crate::types::LogIndex;
use std::sync::Arc;

/// One segment and what is known of its content.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) segment: Arc<Segment>,
    pub(crate) positions: Positions,
    /// The index after the last written entry.
    pub(crate) end: LogIndex,
    /// The file offset after the last written record.
    pub(crate) end_offset: u64,
}

/// All segments, ascending and without gaps.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    placed: Vec<Placed>,
}

/// Where to look for an entry.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) segment: Arc<Segment>,
    /// The nearest known record at or below the entry.
    pub(crate) start: Position,
    /// The nearest known record above the entry, if there is one in the segment.
    pub(crate) next: Option<Position>,
    /// The end of the segment's entries and bytes.
    pub(crate) end: LogIndex,
    pub(crate) end_offset: u64,
}

impl Catalog {
    pub(crate) fn push(&mut self, placed: Placed) {
        if let Some(last) = self.placed.last() {
            assert_eq!(last.end, placed.segment.base, "segments follow each other without gaps");
        }
        self.placed.push(placed);
    }

    /// Takes away the newest segment if it begins at or behind `first_removed`.
    pub(crate) fn pop_from(&mut self, first_removed: LogIndex) -> Option<Arc<Segment>> {
        self.placed.pop_if(|last| last.segment.base >= first_removed).map(|placed| placed.segment)
    }

    /// All segments, ascending.
    pub(crate) fn placed(&self) -> impl Iterator<Item = &Placed> {
        self.placed.iter()
    }

    pub(crate) fn last(&self) -> Option<&Placed> {
        self.placed.last()
    }

    pub(crate) fn last_mut(&mut self) -> Option<&mut Placed> {
        self.placed.last_mut()
    }

    /// The first entry that is on disk, if there is a segment.
    pub(crate) fn first(&self) -> Option<LogIndex> {
        self.placed.first().map(|placed| placed.segment.base)
    }

    /// The segments as the manifest lists them.
    pub(crate) fn listed(&self) -> Vec<Listed> {
        self.placed.iter().map(|placed| placed.segment.listed()).collect()
    }

    /// The segments that may be released: whole ones whose entries are all below `end`, but never the newest.
    pub(crate) fn releasable(&self, end: LogIndex) -> Vec<Arc<Segment>> {
        let older = &self.placed[..self.placed.len().saturating_sub(1)];
        older.iter().take_while(|placed| placed.end <= end).map(|placed| placed.segment.clone()).collect()
    }

    /// Forgets the oldest `count` segments.
    pub(crate) fn release(&mut self, count: usize) {
        self.placed.drain(..count);
    }

    /// Forgets all segments; gives them back.
    pub(crate) fn take_all(&mut self) -> Vec<Arc<Segment>> {
        self.placed.drain(..).map(|placed| placed.segment).collect()
    }

    /// What there is, for those who decide about retention.
    pub(crate) fn segments(&self) -> Vec<SegmentInfo> {
        let newest = self.placed.len().saturating_sub(1);
        let listed = |(at, placed): (usize, &Placed)| SegmentInfo {
            base: placed.segment.base,
            end: placed.end,
            bytes: placed.segment.file_bytes,
            sealed: at < newest,
        };
        self.placed.iter().enumerate().map(listed).collect()
    }

    /// All segments, ascending.
    pub(crate) fn all(&self) -> &[Placed] {
        &self.placed
    }

    /// The segment that begins with `base`.
    pub(crate) fn segment(&self, base: LogIndex) -> Option<Arc<Segment>> {
        self.placed.iter().find(|placed| placed.segment.base == base).map(|placed| placed.segment.clone())
    }

    /// Where the written entry `index` is.
    pub(crate) fn find(&self, index: LogIndex) -> Option<Place> {
        let after = self.placed.partition_point(|placed| placed.segment.base <= index);
        let at = after.checked_sub(1)?;
        let placed = &self.placed[at];
        if index >= placed.end {
            return None;
        }
        Some(Place {
            segment: placed.segment.clone(),
            start: placed.positions.floor(index)?,
            next: placed.positions.above(index),
            end: placed.end,
            end_offset: placed.end_offset,
        })
    }

    /// About how many bytes of records there are from `index` on.
    pub(crate) fn bytes_from(&self, index: LogIndex) -> u64 {
        let end = self.placed.last().map(|last| last.end);
        if end.is_none_or(|end| index >= end) {
            return 0;
        }
        let after = self.placed.partition_point(|placed| placed.segment.base <= index);
        let within = after.checked_sub(1).map_or(0, |at| {
            let placed = &self.placed[at];
            placed.end_offset - placed.positions.floor(index).map_or(0, |at| at.offset)
        });
        within + self.placed[after..].iter().map(|placed| placed.end_offset).sum::<u64>()
    }

    /// The segments that a truncation from `first_removed` takes away as a whole: those that begin at or above it, but
    /// not `spared` if it begins exactly there.
    pub(crate) fn removed_by(&self, first_removed: LogIndex, spared: Option<LogIndex>) -> Vec<Arc<Segment>> {
        let whole = |base: LogIndex| base > first_removed || (base == first_removed && spared != Some(base));
        let segments = self.placed.iter().map(|placed| &placed.segment);
        segments.filter(|segment| whole(segment.base)).cloned().collect()
    }

    /// Cuts the catalog as [`Catalog::removed_by`] says; the last remaining segment then ends at `end_offset`.
    pub(crate) fn truncate(&mut self, first_removed: LogIndex, removed: usize, end_offset: Option<u64>) {
        self.placed.truncate(self.placed.len() - removed);
        let Some(last) = self.placed.last_mut() else { return };
        if let Some(end_offset) = end_offset {
            assert!(end_offset <= last.end_offset && first_removed <= last.end, "a truncation only shortens");
            last.positions.truncate(first_removed);
            last.end = first_removed;
            last.end_offset = end_offset;
        }
        assert_eq!(last.end, first_removed, "the log ends where it was cut");
    }
}
