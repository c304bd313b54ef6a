//! A walk through a segment that does not end at the first bad record: what is good in it, and the holes between.
//!
//! ```text
//!   │ good │ good │ bad ?????????????? │ good │ good │ unwritten
//!                 └─ hole: first lost ──┘ next good header, found by own offset and salt
//! ```
//! A header is good only at its own offset and under the segment's salt, and truncation leaves none of a removed entry
//! behind; so the next good header after a bad record says exactly where the hole ends and which entries are in it. A
//! record whose payload alone is damaged is a hole of its own, and its header still says which entry it was.
//!
//! The survey judges nothing: torn or corrupt is decided by the durable mark (hazards 3), which it reports.

pub(crate) use super::bad_record::BadRecord;
use super::format::{HeaderFault, HeaderKind, RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES, RecordHeader};
use super::format::{SEGMENT_HEADER_BYTES, record_header::stride_of};
use super::media::read_around;
use super::reader::SegmentReader;
use super::recovery::check;
use super::segment::Segment;
use crate::types::{LogId, LogIndex};
use std::io;

/// How much is read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Where records are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    /// Where the first bad record begins, and where what is good goes on.
    pub(crate) offset: u64,
    pub(crate) end_offset: u64,
    /// The entries that are lost: from `first`, without `end`; none if only marks are.
    pub(crate) first: LogIndex,
    pub(crate) end: LogIndex,
    /// An entry of this log at or right behind the last lost one, told by a good header: what a peer must hold too.
    pub(crate) anchor: Option<LogId>,
    /// What is wrong with the first bad record.
    pub(crate) bad: BadRecord,
}

/// What a survey meets, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A good entry or mark.
    Good(RecordHeader),
    Hole(Hole),
}

/// Where records begin or end: with the entry of this index, at this offset. The end of a sealed segment is told by the
/// segment behind it.
pub(crate) use super::positions::Position;

/// What a survey ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Surveyed {
    /// The index after the last entry, lost ones included, and the offset behind the last record.
    pub(crate) end: LogIndex,
    pub(crate) end_offset: u64,
    /// The last good entry, or the one before the segment.
    pub(crate) last: Option<LogId>,
    /// The highest durable mark in a good header, exclusive.
    pub(crate) mark_end: LogIndex,
    /// What stands behind the last record instead of unwritten space.
    pub(crate) behind: Option<BadRecord>,
}

/// Walks all of `segment`; `before` is the entry before it. `end` is where its records are known to end; `None` in the
/// newest segment of a log that is not open.
pub(crate) fn survey(
    segment: &Segment,
    before: Option<LogId>,
    end: Option<Position>,
    visit: &mut dyn FnMut(Found),
) -> io::Result<Surveyed> {
    let start = Position { index: segment.base, offset: SEGMENT_HEADER_BYTES };
    survey_from(segment, start, before, end, visit)
}

/// Like [`survey`], of a stretch of an open log, which knows exactly where records begin and end: what is bad right before
/// `end` is a hole as well, of marks alone.
pub(crate) fn survey_stretch(
    segment: &Segment,
    start: Position,
    end: Position,
    visit: &mut dyn FnMut(Found),
) -> io::Result<()> {
    let surveyed = survey_from(segment, start, None, Some(end), visit)?;
    if surveyed.end_offset < end.offset {
        let Surveyed { end: first, end_offset: offset, behind, .. } = surveyed;
        let bad = behind.unwrap_or(BadRecord::Header(HeaderFault::Unwritten));
        visit(Found::Hole(Hole { offset, end_offset: end.offset, first, end: end.index, anchor: None, bad }));
    }
    Ok(())
}

/// Like [`survey`], from the record that begins at `start`.
fn survey_from(
    segment: &Segment,
    start: Position,
    before: Option<LogId>,
    sealed: Option<Position>,
    visit: &mut dyn FnMut(Found),
) -> io::Result<Surveyed> {
    let mut reader = SegmentReader::chunked(segment, CHUNK_BYTES);
    let limit = sealed.map_or(segment.file_bytes, |end| end.offset.min(segment.file_bytes));
    let Position { index: end, offset: end_offset } = start;
    let mut at = Surveyed { end, end_offset, last: before, mark_end: end, behind: None };
    while at.end_offset < limit {
        let bad = match reader.header(at.end_offset)? {
            Ok(header) => match check(&mut reader, &header, at.end, at.last)? {
                Ok(()) => {
                    at.pass(&header);
                    visit(Found::Good(header));
                    continue;
                }
                Err(bad @ (BadRecord::PayloadCrc | BadRecord::PayloadUnreadable)) => {
                    let hole = at.hole_of_payload(&header, bad);
                    at.skip(&hole, Some(&header));
                    visit(Found::Hole(hole));
                    continue;
                }
                Err(bad) => bad,
            },
            Err(fault) => BadRecord::Header(fault),
        };
        let next = next_good_header(segment, &at, limit)?;
        let Some(hole) = at.hole_until(next.as_ref(), sealed, bad.clone()) else {
            at.behind = match bad {
                BadRecord::Header(fault) if segment.may_hold_behind_its_end(fault) => None,
                bad => Some(bad),
            };
            return Ok(at);
        };
        at.skip(&hole, None);
        visit(Found::Hole(hole));
    }
    Ok(at)
}

impl Surveyed {
    fn pass(&mut self, header: &RecordHeader) {
        if let HeaderKind::Entry(_) = header.kind {
            self.end = header.id.index.next();
            self.last = Some(header.id);
        }
        self.mark_end = self.mark_end.max(header.durable_end);
        self.end_offset += header.stride();
    }

    /// The hole that a record with a good header and a damaged payload is.
    fn hole_of_payload(&self, header: &RecordHeader, bad: BadRecord) -> Hole {
        Hole {
            offset: self.end_offset,
            end_offset: self.end_offset + header.stride(),
            first: self.end,
            end: self.end.next(),
            anchor: Some(header.id),
            bad,
        }
    }

    /// The hole up to the next good header, or to where the records end; `None` at the end of the log.
    fn hole_until(&self, next: Option<&RecordHeader>, sealed: Option<Position>, bad: BadRecord) -> Option<Hole> {
        let (end, end_offset, anchor) = match (next, sealed) {
            (Some(next), _) => {
                let end = if next.kind == HeaderKind::Mark { next.id.index.next() } else { next.id.index };
                (end, next.own_offset, Some(next.id))
            }
            (None, Some(sealed)) if self.end < sealed.index => (sealed.index, sealed.offset, None),
            (None, _) => return None,
        };
        Some(Hole { offset: self.end_offset, end_offset, first: self.end, end, anchor, bad })
    }

    fn skip(&mut self, hole: &Hole, header: Option<&RecordHeader>) {
        assert!(hole.end_offset > self.end_offset && hole.end >= self.end, "a survey goes forward");
        self.end_offset = hole.end_offset;
        self.end = hole.end;
        if let Some(header) = header {
            self.last = Some(header.id);
            self.mark_end = self.mark_end.max(header.durable_end);
        }
    }

    /// Whether a good header behind a bad record can be of this log: not older than what is before the hole, and with
    /// no more entries in the hole than fit.
    fn may_be_followed_by(&self, header: &RecordHeader) -> bool {
        let next = if header.kind == HeaderKind::Mark { header.id.index.next() } else { header.id.index };
        let room = (header.own_offset - self.end_offset) / stride_of(0);
        let lost = next.0.checked_sub(self.end.0);
        let follows_in_term = self.last.is_none_or(|last| header.id.term >= last.term);
        follows_in_term && header.durable_end <= next && lost.is_some_and(|lost| lost <= room)
    }
}

/// The first good header behind the bad record at `at`, before `limit`.
fn next_good_header(segment: &Segment, at: &Surveyed, limit: u64) -> io::Result<Option<RecordHeader>> {
    let align = usize::try_from(RECORD_ALIGN_BYTES).expect("a constant that fits");
    let mut chunk = vec![0; CHUNK_BYTES + RECORD_HEADER_BYTES];
    let mut start = next_data(segment, at.end_offset + RECORD_ALIGN_BYTES)?;
    while start < limit {
        let left = usize::try_from(limit - start).unwrap_or(usize::MAX);
        let read = &mut chunk[..left.min(CHUNK_BYTES + RECORD_HEADER_BYTES)];
        // What cannot be read holds no good header.
        read_around(segment.file.as_ref(), read, start)?;
        for (position, window) in (start..).zip(read.windows(RECORD_HEADER_BYTES)).step_by(align) {
            // The own offset is compared first: it rules out nearly every position without computing a CRC.
            if window[24..32] != position.to_le_bytes() {
                continue;
            }
            let bytes = window.try_into().expect("as long as a header");
            match RecordHeader::decode(bytes, segment.salt, position) {
                Ok(header) if at.may_be_followed_by(&header) => return Ok(Some(header)),
                _ => {}
            }
        }
        start = next_data(segment, start + CHUNK_BYTES as u64)?;
    }
    Ok(None)
}

/// Where to look on from `at`: space that was never written is skipped.
fn next_data(segment: &Segment, at: u64) -> io::Result<u64> {
    if at >= segment.file_bytes {
        return Ok(at);
    }
    let data = segment.file.next_data(at)?;
    Ok(at.max(data - data % RECORD_ALIGN_BYTES))
}
