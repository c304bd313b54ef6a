//! Reads: from the cache if it holds what is asked for, else from the segment files.

use super::error::ReadError;
use super::format::HeaderKind;
use super::positions::Position;
use super::reader::SegmentReader;
use super::record::Record;
use super::segment::Segment;
use super::shared::Shared;
use crate::planted::{self, Bug};
use crate::types::LogIndex;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

impl Shared {
    /// One attempt of [`crate::storage::Log::read`]; `None` if a truncation came between, so that what was read may
    /// be of two different logs.
    pub(super) fn read(
        &self,
        from: LogIndex,
        until: LogIndex,
        bytes_max: usize,
    ) -> Result<Option<Vec<Record>>, ReadError> {
        let mut records = Vec::new();
        let mut bytes = 0;
        let mut at = from;
        let begun_in = self.lock().epoch;
        let was_cut = |now| now != begun_in && !planted::is(Bug::ReadAcrossTruncation);
        loop {
            let state = self.lock();
            if was_cut(state.epoch) {
                return Ok(None);
            }
            let until = until.min(state.tail.next());
            if at >= until {
                return Ok(Some(records));
            }
            if at >= state.tail.cache_first() {
                state.tail.read(at, until, bytes, bytes_max, &mut records);
                return Ok(Some(records));
            }
            let Some(place) = state.catalog.find(at) else {
                let first = state.catalog.first().filter(|first| *first > at).unwrap_or(state.tail.cache_first());
                return Err(ReadError::Removed { index: at, first });
            };
            let until = until.min(place.end).min(state.tail.cache_first());
            drop(state);

            let before = records.len();
            let plan = ReadPlan {
                start: place.start,
                from: at,
                until,
                bytes_max: bytes_max.saturating_sub(bytes),
                at_least_one: records.is_empty(),
            };
            if let Err(error) = read_records(&place.segment, plan, &mut records) {
                return if was_cut(self.lock().epoch) { Ok(None) } else { Err(error) };
            }
            let read = records.len() - before;
            self.counters.reads_from_files.fetch_add(read as u64, Relaxed);
            bytes += records[before..].iter().map(|record| record.payload.len()).sum::<usize>();
            at = LogIndex(at.0 + read as u64);
            if at < until {
                return Ok(Some(records).filter(|_| !was_cut(self.lock().epoch)));
            }
        }
    }
}

/// What to read of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadPlan {
    /// A record at or below `from`, where the walk over the headers begins.
    pub(crate) start: Position,
    pub(crate) from: LogIndex,
    pub(crate) until: LogIndex,
    /// Payload bytes to stay below; the first record is read all the same if `at_least_one`.
    pub(crate) bytes_max: usize,
    pub(crate) at_least_one: bool,
}

/// Bytes read ahead of the payloads, for headers.
const CHUNK_SLACK_BYTES: usize = 16 << 10;
/// Most bytes that are read at once, if a single record is not larger.
const CHUNK_BYTES_MAX: usize = 256 << 10;

/// Appends the records of the plan to `records`. All of them must be in the segment and written.
pub(crate) fn read_records(segment: &Segment, plan: ReadPlan, records: &mut Vec<Record>) -> Result<(), ReadError> {
    let io_error = |source| ReadError::Io { file: segment.path.clone(), source: Arc::new(source) };
    let chunk_bytes = plan.bytes_max.saturating_add(CHUNK_SLACK_BYTES).min(CHUNK_BYTES_MAX);
    let mut reader = SegmentReader::chunked(segment, chunk_bytes);
    let mut bytes = 0;
    let Position { mut index, mut offset } = plan.start;
    assert!(index <= plan.from, "the walk begins at or below what is asked for");
    while index < plan.until {
        let corrupt = move |reason: String| ReadError::Corrupt { file: segment.path.clone(), offset, index, reason };
        let header = reader.header(offset).map_err(io_error)?.map_err(|fault| corrupt(fault.to_string()))?;
        if !reader.fits(&header) {
            return Err(corrupt("the record ends behind the file".into()));
        }
        offset += header.stride();
        let HeaderKind::Entry(kind) = header.kind else { continue };
        if header.id.index != index {
            return Err(corrupt(format!("the record there has index {}", header.id.index)));
        }
        if index >= plan.from {
            if (index > plan.from || !plan.at_least_one) && bytes + header.payload_bytes as usize > plan.bytes_max {
                return Ok(());
            }
            let payload = reader.payload(&header).map_err(io_error)?.map_err(|bad| corrupt(bad.to_string()))?;
            bytes += payload.len();
            let (id, count, payload_crc) = (header.id, header.count, header.payload_crc);
            records.push(Record { id, kind, count, payload, payload_crc });
        }
        index = index.next();
    }
    Ok(())
}
