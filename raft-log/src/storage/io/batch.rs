//! Records on their way into one `pwritev`.
//!
//! Headers and small payloads are copied into one staging buffer that is used again and again; large payloads go to the
//! kernel from where they are.

use crate::env::File;
use crate::storage::Record;
use crate::storage::format::{RECORD_HEADER_BYTES, RecordHeader, Salt};
use crate::storage::positions::{Position, SPACING_BYTES};
use crate::types::{LogId, LogIndex};
use bytes::Bytes;
use std::io::{self, IoSlice};
use std::ops::Range;

/// Payloads of this size and more are not copied.
const UNCOPIED_BYTES_MIN: usize = 32 << 10;
/// The staging buffer is given back when a batch made it larger than this.
const STAGING_BYTES_KEPT: usize = 16 << 20;

/// Records that will be written together, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    staging: Vec<u8>,
    parts: Vec<Part>,
    positions: Vec<Position>,
    bytes: u64,
    records: u64,
    last: Option<LogId>,
}

#[derive(Debug)]
enum Part {
    /// A piece of the staging buffer.
    Staged(Range<usize>),
    Payload(Bytes),
}

impl Batch {
    /// Adds a record that will begin at `offset` of its segment.
    pub(crate) fn push(&mut self, record: &Record, offset: u64, salt: Salt, durable_end: LogIndex) {
        let header = RecordHeader::of_record(record, offset, durable_end);
        let staged_from = self.staging.len();
        self.staging.extend_from_slice(&header.encode(salt));
        if record.payload.len() < UNCOPIED_BYTES_MIN {
            self.staging.extend_from_slice(&record.payload);
        } else {
            self.stage(staged_from);
            self.parts.push(Part::Payload(record.payload.clone()));
        }
        let padded_from = self.staging.len();
        let content = RECORD_HEADER_BYTES + record.payload.len();
        let stride = header.stride();
        let padding = usize::try_from(stride).expect("bounded by the segment") - content;
        self.staging.resize(padded_from + padding, 0);
        self.stage(if record.payload.len() < UNCOPIED_BYTES_MIN { staged_from } else { padded_from });

        let last_kept = self.positions.last().map_or(0, |position| position.offset);
        if offset - last_kept >= u64::from(SPACING_BYTES) || self.positions.is_empty() {
            self.positions.push(Position { index: record.id.index, offset });
        }
        self.bytes += stride;
        self.records += 1;
        self.last = Some(record.id);
    }

    /// Makes the staging buffer from `start` on part of the write, joined to the part before if that is staged too.
    fn stage(&mut self, start: usize) {
        let end = self.staging.len();
        match self.parts.last_mut() {
            _ if start == end => {}
            Some(Part::Staged(range)) if range.end == start => range.end = end,
            _ => self.parts.push(Part::Staged(start..end)),
        }
    }

    /// Bytes that the records take on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// The last record, if there is any.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.last
    }

    /// Where some of the records begin, for the sparse index.
    pub(crate) fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// Writes all records at `offset`.
    pub(crate) fn write(&self, file: &dyn File, offset: u64) -> io::Result<()> {
        if let [Part::Staged(range)] = &self.parts[..] {
            return file.write_all_at(&self.staging[range.clone()], offset);
        }
        let slices: Vec<IoSlice<'_>> = self.parts.iter().map(|part| IoSlice::new(self.slice(part))).collect();
        file.write_vectored_at(&slices, offset)
    }

    fn slice<'a>(&'a self, part: &'a Part) -> &'a [u8] {
        match part {
            Part::Staged(range) => &self.staging[range.clone()],
            Part::Payload(payload) => payload,
        }
    }

    /// Empties the batch and keeps its buffers.
    pub(crate) fn clear(&mut self) {
        self.staging.clear();
        if self.staging.capacity() > STAGING_BYTES_KEPT {
            self.staging.shrink_to(STAGING_BYTES_KEPT);
        }
        self.parts.clear();
        self.positions.clear();
        self.bytes = 0;
        self.records = 0;
        self.last = None;
    }
}
