//! A damaged range of a segment: what is asked of a peer for it, and how what fills it is written.

use crate::storage::format::HeaderKind;
use crate::storage::media::write_over;
use crate::storage::reader::SegmentReader;
use crate::storage::record::Record;
use crate::storage::recovery::check;
use crate::storage::segment::Segment;
use crate::storage::survey::Hole;
use crate::types::{LogId, LogIndex};
use std::io;

/// A damaged range: what is lost, and what is known around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// The base of the segment that it is in.
    pub(crate) base: LogIndex,
    pub(crate) hole: Hole,
    /// The good entry before the hole, if it is known.
    pub(crate) before: Option<LogId>,
}

/// What is asked of a peer: the entries from `first` without `end`, if it holds `anchor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RangeRequest {
    pub(crate) first: LogIndex,
    pub(crate) end: LogIndex,
    pub(crate) anchor: LogId,
}

impl Lost {
    /// Whether only marks are lost, so that nobody must be asked.
    pub(crate) fn is_marks_only(&self) -> bool {
        self.hole.first == self.hole.end
    }

    /// What to ask for when the entries below `first` are there already; `None` without an anchor.
    pub(crate) fn request(&self, first: LogIndex) -> Option<RangeRequest> {
        self.hole.anchor.map(|anchor| RangeRequest { first, end: self.hole.end, anchor })
    }

    /// Whether these records can follow `had`, which are the first of the lost entries: contiguous, of terms between
    /// those around, and under the very id that the anchor names.
    pub(crate) fn may_continue(&self, had: &[Record], more: &[Record]) -> bool {
        let mut last = had.last().map(|record| record.id).or(self.before);
        let mut index = LogIndex(self.hole.first.0 + had.len() as u64);
        let Some(anchor) = self.hole.anchor else { return false };
        more.iter().all(|record| {
            let id = record.id;
            let fits = id.index == index
                && id.index < self.hole.end
                && last.is_none_or(|last| last.term <= id.term)
                && id.term <= anchor.term
                && (id.index != anchor.index || id == anchor);
            last = Some(id);
            index = index.next();
            fits
        })
    }
}

/// Writes what fills the hole of `lost`, or a piece from its begin, and syncs; then reads back what stands there.
pub(crate) fn write(segment: &Segment, lost: &Lost, bytes: &[u8]) -> io::Result<()> {
    let hole = &lost.hole;
    let end_offset = hole.offset + bytes.len() as u64;
    assert!(end_offset <= hole.end_offset, "nothing outside the hole is written");
    write_over(segment.file.as_ref(), bytes, hole.offset)?;
    segment.file.sync_data()?;
    let mut reader = SegmentReader::chunked(segment, bytes.len().max(64));
    let (mut offset, mut index, mut last) = (hole.offset, hole.first, lost.before);
    while offset < end_offset {
        let header = reader.header(offset)?.map_err(not_kept)?;
        check(&mut reader, &header, index, last)?.map_err(not_kept)?;
        if let HeaderKind::Entry(_) = header.kind {
            last = Some(header.id);
            index = index.next();
        }
        offset += header.stride();
    }
    let complete = index == hole.end || end_offset < hole.end_offset;
    if !complete || offset != end_offset {
        return Err(io::Error::other("what was written was not read back"));
    }
    Ok(())
}

fn not_kept(fault: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("what was written was not read back: {fault}"))
}
