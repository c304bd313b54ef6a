//! Repair of damaged ranges from peers, along Raft's log matching (hazards 8).
//!
//! ```text
//!   survey ─► Lost: a hole, its entries, and an anchor: the (index, term) of an entry of ours at or behind the last lost
//!               │
//!   a peer that holds the anchor holds, by log matching, exactly our entries below it ─► their records
//!               │
//!   fill ─► the same bytes' worth of entries and marks under our own header ─► write, sync, read back and check
//! ```
//! Only then is the damage forgotten. A crash in between leaves a hole, or a smaller one: the repair begins again. Nothing
//! outside the hole is written. Without an anchor nothing is taken from anybody: the node must join under a fresh id
//! (hazards 2).
//!
//! [`Folder`] repairs a log that did not open; the I/O thread of an open log does it in place
//! ([`Log::repair`](crate::storage::Log)). Who asks the peers is above, in `replica::repair`.

mod fill;
mod folder;
mod online;

pub(crate) use fill::fill;
pub(crate) use folder::Folder;
pub(crate) use online::{OpenLost, Refill};

use super::format::HeaderKind;
use super::media::write_over;
use super::reader::SegmentReader;
use super::record::Record;
use super::recovery::check;
use super::segment::Segment;
use super::survey::Hole;
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
