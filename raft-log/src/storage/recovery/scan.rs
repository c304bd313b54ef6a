//! Walks the records of one segment and checks each of them.

use crate::planted::{self, Bug};
use crate::storage::bad_record::BadRecord;
use crate::storage::format::{HeaderFault, HeaderKind, RecordHeader, SEGMENT_HEADER_BYTES};
use crate::storage::positions::{Position, Positions};
use crate::storage::reader::SegmentReader;
use crate::storage::segment::Segment;
use crate::storage::sidecar::Sidecar;
use crate::storage::terms::Terms;
use crate::types::{LogId, LogIndex};
use std::io;

/// How much is read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Why a scan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ScanEnd {
    /// At the index where it was told to.
    Limit,
    /// At unwritten space, or the end of the file.
    Unwritten,
    /// At bytes that are no good record.
    Bad(BadRecord),
}

/// What a scan found before it ended.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) positions: Positions,
    /// The index after the last good entry, and the offset after the last good record.
    pub(super) end: LogIndex,
    pub(super) end_offset: u64,
    /// The highest durable mark in a good record, exclusive.
    pub(super) mark_end: LogIndex,
    pub(super) records: u64,
    pub(super) payload_bytes: u64,
    pub(super) ended: ScanEnd,
}

impl Scan {
    /// Of nothing yet.
    pub(super) fn begin(segment: &Segment) -> Scan {
        Scan {
            positions: Positions::new(segment.base),
            end: segment.base,
            end_offset: SEGMENT_HEADER_BYTES,
            mark_end: segment.base,
            records: 0,
            payload_bytes: 0,
            ended: ScanEnd::Limit,
        }
    }

    /// Of what a sidecar tells: its entries were durable, and are not looked at.
    pub(super) fn indexed(sidecar: Sidecar, last: &mut Option<LogId>, terms: &mut Terms) -> Scan {
        sidecar.runs.iter().for_each(|run| terms.push(*run));
        let run = sidecar.runs.last().expect("a sidecar speaks of an entry at least");
        *last = Some(LogId { term: run.term, index: LogIndex(sidecar.end.0 - 1) });
        Scan {
            positions: sidecar.positions,
            end: sidecar.end,
            end_offset: sidecar.end_offset,
            mark_end: sidecar.end,
            records: 0,
            payload_bytes: 0,
            ended: ScanEnd::Limit,
        }
    }
}

/// Goes on with a scan of `segment` up to, but without, the entry `limit`. `last` is the entry before the segment, then the last one in
/// it; its entries' terms are noted in `terms`.
pub(super) fn scan(
    segment: &Segment,
    mut found: Scan,
    limit: LogIndex,
    last: &mut Option<LogId>,
    terms: &mut Terms,
) -> io::Result<Scan> {
    let mut reader = SegmentReader::chunked(segment, CHUNK_BYTES);
    while found.end < limit {
        let header = match reader.header(found.end_offset)? {
            Ok(header) => header,
            Err(HeaderFault::Unwritten) => {
                found.ended = ScanEnd::Unwritten;
                return Ok(found);
            }
            Err(fault) => {
                found.ended = ScanEnd::Bad(BadRecord::Header(fault));
                return Ok(found);
            }
        };
        if let Err(bad) = check(&mut reader, &header, found.end, *last)? {
            found.ended = ScanEnd::Bad(bad);
            return Ok(found);
        }
        found.mark_end = found.mark_end.max(header.durable_end);
        if let HeaderKind::Entry(_) = header.kind {
            found.positions.note(Position { index: found.end, offset: found.end_offset });
            terms.push(header.id);
            *last = Some(header.id);
            found.end = found.end.next();
            found.records += 1;
            found.payload_bytes += u64::from(header.payload_bytes);
        }
        found.end_offset += header.stride();
    }
    pass_marks(&mut reader, &mut found)?;
    Ok(found)
}

/// Marks behind the last entry belong to the segment: a later truncation must find and erase them.
fn pass_marks(reader: &mut SegmentReader<'_>, found: &mut Scan) -> io::Result<()> {
    while let Ok(header) = reader.header(found.end_offset)? {
        let is_mark = header.kind == HeaderKind::Mark && header.durable_end <= found.end;
        if !is_mark || header.id.index.next() != found.end {
            return Ok(());
        }
        found.end_offset += header.stride();
    }
    Ok(())
}

/// Whether an intact header and its payload are what must stand there.
pub(crate) fn check(
    reader: &mut SegmentReader<'_>,
    header: &RecordHeader,
    expected: LogIndex,
    last: Option<LogId>,
) -> io::Result<Result<(), BadRecord>> {
    if !reader.fits(header) {
        return Ok(Err(BadRecord::BehindFile));
    }
    match header.kind {
        HeaderKind::Mark => {
            if header.durable_end > expected || header.id.index.next() != expected {
                return Ok(Err(BadRecord::Mark));
            }
        }
        HeaderKind::Entry(_) => {
            if header.id.index != expected && !planted::is(Bug::RecycledMisread) {
                return Ok(Err(BadRecord::Index { found: header.id.index }));
            }
            if last.is_some_and(|last| header.id.term < last.term) {
                return Ok(Err(BadRecord::TermFell { found: header.id.term }));
            }
            if header.durable_end > expected {
                return Ok(Err(BadRecord::Mark));
            }
        }
    }
    Ok(match reader.payload(header)? {
        Ok(_) => Ok(()),
        Err(_) if planted::is(Bug::TornTailTaken) => Ok(()),
        Err(bad) => Err(bad),
    })
}
