//! Reads records from one segment file, from memory maps or by `pread`, and checks them.
//!
//! It trusts nothing: header CRC, salt, own offset, index and payload CRC are all checked before a byte is handed out.

use super::format::record_header::stride_of;
use super::format::{HeaderFault, RECORD_HEADER_BYTES, RecordHeader};
use super::segment::Segment;
use bytes::Bytes;
use std::io;

/// Reads pieces of a segment file, in mostly ascending order.
pub(crate) struct SegmentReader<'a> {
    segment: &'a Segment,
    source: Source,
}

enum Source {
    Mapped(Bytes),
    Window { bytes: Bytes, start: u64, chunk_bytes: usize },
}

impl<'a> SegmentReader<'a> {
    /// Reads by `pread`, at least `chunk_bytes` at a time.
    pub(crate) fn chunked(segment: &'a Segment, chunk_bytes: usize) -> SegmentReader<'a> {
        assert!(chunk_bytes >= RECORD_HEADER_BYTES, "a chunk holds a header at least");
        SegmentReader { segment, source: Source::Window { bytes: Bytes::new(), start: 0, chunk_bytes } }
    }

    /// Reads through the segment's memory map, or by `pread` where there is none.
    pub(crate) fn mapped(segment: &'a Segment, chunk_bytes: usize) -> io::Result<SegmentReader<'a>> {
        Ok(match segment.mapped()? {
            Some(map) => SegmentReader { segment, source: Source::Mapped(map) },
            None => SegmentReader::chunked(segment, chunk_bytes),
        })
    }

    /// `length` bytes at `offset`, which must lie inside the file.
    pub(crate) fn bytes(&mut self, offset: u64, length: usize) -> io::Result<Bytes> {
        assert!(offset + length as u64 <= self.segment.file_bytes, "reads stay inside the segment");
        match &mut self.source {
            Source::Mapped(map) => {
                let start = usize::try_from(offset).expect("a mapped file fits into memory");
                Ok(map.slice(start..start + length))
            }
            Source::Window { bytes, start, chunk_bytes } => {
                let end = offset + length as u64;
                if offset < *start || end > *start + bytes.len() as u64 {
                    let left = usize::try_from(self.segment.file_bytes - offset).unwrap_or(usize::MAX);
                    let mut window = vec![0; length.max((*chunk_bytes).min(left))];
                    self.segment.file.read_exact_at(&mut window, offset)?;
                    *bytes = Bytes::from(window);
                    *start = offset;
                }
                let from = usize::try_from(offset - *start).expect("inside the window");
                Ok(bytes.slice(from..from + length))
            }
        }
    }

    /// The header at `offset`. The end of the file counts as unwritten space.
    pub(crate) fn header(&mut self, offset: u64) -> io::Result<Result<RecordHeader, HeaderFault>> {
        if offset + RECORD_HEADER_BYTES as u64 > self.segment.file_bytes {
            return Ok(Err(HeaderFault::Unwritten));
        }
        let bytes = self.bytes(offset, RECORD_HEADER_BYTES)?;
        // Copied out first: a concurrent truncation may zero the header under a map.
        let bytes: [u8; RECORD_HEADER_BYTES] = bytes[..].try_into().expect("as long as asked for");
        Ok(RecordHeader::decode(&bytes, self.segment.salt, offset))
    }

    /// Whether a record of this header ends inside the file.
    pub(crate) fn fits(&self, header: &RecordHeader) -> bool {
        header.own_offset + stride_of(header.payload_bytes as usize) <= self.segment.file_bytes
    }

    /// The payload behind a header that [`SegmentReader::fits`]; `None` if its CRC does not match.
    pub(crate) fn payload(&mut self, header: &RecordHeader) -> io::Result<Option<Bytes>> {
        let start = header.own_offset + RECORD_HEADER_BYTES as u64;
        let payload = self.bytes(start, header.payload_bytes as usize)?;
        Ok((crc32c::crc32c(&payload) == header.payload_crc).then_some(payload))
    }
}
