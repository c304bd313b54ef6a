//! Byte layouts: what the files look like, and nothing about when they are written. Integers are little-endian.

pub(crate) mod prefix;
pub(crate) mod record_header;
pub(crate) mod salt;
pub(crate) mod segment_header;

pub(crate) use record_header::{HeaderFault, HeaderKind, RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES, RecordHeader};
pub(crate) use salt::Salt;
pub(crate) use segment_header::{HeaderCopy, SEGMENT_HEADER_BYTES, SegmentHeader};

/// The eight-byte number at `at`; the caller has made sure that it is there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The four-byte number at `at`; the caller has made sure that it is there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
