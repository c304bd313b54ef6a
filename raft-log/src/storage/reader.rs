//! Reads records from one segment file and checks them.
//!
//! It trusts nothing: header CRC, salt, own offset, index and payload CRC are all checked before a byte is handed out. It
//! reads into memory of its own, never through a map of the file: what is checked there may be gone from the page cache
//! when it is used, and if the device cannot read it again, the process dies of the access (hazards 36). What a copy costs
//! is less than the CRC over the same bytes.

use super::bad_record::BadRecord;
use super::format::record_header::stride_of;
use super::format::{HeaderFault, RECORD_HEADER_BYTES, RecordHeader};
use super::media::{Unreadable, read_around};
use super::segment::Segment;
use bytes::Bytes;
use std::io;

/// Reads pieces of a segment file, in mostly ascending order.
pub(crate) struct SegmentReader<'a> {
    segment: &'a Segment,
    chunk_bytes: usize,
    /// What was read last, from `start` on.
    window: Bytes,
    start: u64,
    unreadable: Unreadable,
}

impl<'a> SegmentReader<'a> {
    /// Reads at least `chunk_bytes` at a time.
    pub(crate) fn chunked(segment: &'a Segment, chunk_bytes: usize) -> SegmentReader<'a> {
        assert!(chunk_bytes >= RECORD_HEADER_BYTES, "a chunk holds a header at least");
        SegmentReader { segment, chunk_bytes, window: Bytes::new(), start: 0, unreadable: Unreadable::default() }
    }

    /// `length` bytes at `offset`, which must lie inside the file; `None` if the device cannot read them all.
    fn bytes(&mut self, offset: u64, length: usize) -> io::Result<Option<Bytes>> {
        let end = offset + length as u64;
        assert!(end <= self.segment.file_bytes, "reads stay inside the segment");
        if offset < self.start || end > self.start + self.window.len() as u64 {
            let left = usize::try_from(self.segment.file_bytes - offset).unwrap_or(usize::MAX);
            let mut window = vec![0; length.max(self.chunk_bytes.min(left))];
            self.unreadable = read_around(self.segment.file.as_ref(), &mut window, offset)?;
            self.window = Bytes::from(window);
            self.start = offset;
        }
        if self.unreadable.touches(&(offset..end)) {
            return Ok(None);
        }
        let from = usize::try_from(offset - self.start).expect("inside the window");
        Ok(Some(self.window.slice(from..from + length)))
    }

    /// The header at `offset`. The end of the file counts as unwritten space.
    pub(crate) fn header(&mut self, offset: u64) -> io::Result<Result<RecordHeader, HeaderFault>> {
        if offset + RECORD_HEADER_BYTES as u64 > self.segment.file_bytes {
            return Ok(Err(HeaderFault::Unwritten));
        }
        let Some(bytes) = self.bytes(offset, RECORD_HEADER_BYTES)? else { return Ok(Err(HeaderFault::Unreadable)) };
        let bytes: &[u8; RECORD_HEADER_BYTES] = bytes[..].try_into().expect("as long as asked for");
        Ok(RecordHeader::decode(bytes, self.segment.salt, offset))
    }

    /// Whether a record of this header ends inside the file.
    pub(crate) fn fits(&self, header: &RecordHeader) -> bool {
        header.own_offset + stride_of(header.payload_bytes as usize) <= self.segment.file_bytes
    }

    /// The payload behind a header that [`SegmentReader::fits`], or what is wrong with it.
    pub(crate) fn payload(&mut self, header: &RecordHeader) -> io::Result<Result<Bytes, BadRecord>> {
        let start = header.own_offset + RECORD_HEADER_BYTES as u64;
        Ok(match self.bytes(start, header.payload_bytes as usize)? {
            None => Err(BadRecord::PayloadUnreadable),
            Some(payload) if crc32c::crc32c(&payload) != header.payload_crc => Err(BadRecord::PayloadCrc),
            Some(payload) => Ok(payload),
        })
    }
}
