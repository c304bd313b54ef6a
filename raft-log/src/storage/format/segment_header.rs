//! The header of a segment file: its first 4 KiB.
//!
//! ```text
//!    0 prefix 16 │ 16 group u32 │ 20 flags u32 (1 recycled) │ 24 base index u64 │ 32 base offset u64 │
//!   40 salt u64 │ 48 file bytes u64 │ 56 created u64 │ 64 CRC32C of the 64 bytes before u32 │ zeroes │
//!   2,048 the same again │ zeroes up to 4,096
//! ```
//! The second copy serves when the first is damaged. Segments made by earlier versions have none. When both are lost, the
//! manifest says what stood there.
//!
//! Version 1 had neither flags nor *created*: its CRC stands at 56. Both are read.
//!
//! *Base index* is the first entry's; the file's name repeats it. *Base offset* is how many bytes of records the log
//! holds before this segment. *File bytes* is the length that the file was made with: a shorter one was truncated.
//! It is written and synced before the file gets its name, so a segment with a bad header is damaged, never torn.

use super::prefix::{self, Magic, PREFIX_BYTES};
use super::{Salt, u32_at, u64_at};
use crate::storage::OpenError;
use crate::types::{GroupId, LogIndex, UnixMillis};
use std::path::Path;

/// Length of a segment header; the first record begins here.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 4_096;
/// The version of the segment format that is written, and the highest that is read.
const SEGMENT_VERSION: u32 = 2;
const MAGIC: Magic = *b"TERCSEGM";
const CRC_AT: usize = 64;
const CRC_AT_IN_V1: usize = 56;
const FLAG_RECYCLED: u32 = 1;
/// Where the copies stand.
const COPIES_AT: [usize; 2] = [0, 2_048];

/// A decoded segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) group: GroupId,
    pub(crate) base: LogIndex,
    pub(crate) base_offset: u64,
    pub(crate) salt: Salt,
    pub(crate) file_bytes: u64,
    /// When the file became a segment, by the wall clock; unknown in version 1.
    pub(crate) created: Option<UnixMillis>,
    /// The file was a segment before: behind its records lie those of an earlier life, under other salts.
    pub(crate) recycled: bool,
}

/// One copy of a header, or all of it, to be written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderCopy {
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

impl SegmentHeader {
    /// All bytes before the first record: the header, twice.
    pub(crate) fn encode_block(&self) -> Vec<u8> {
        let mut block = vec![0; usize::try_from(SEGMENT_HEADER_BYTES).expect("a constant that fits")];
        let copy = self.encode();
        COPIES_AT.iter().for_each(|at| block[*at..*at + copy.len()].copy_from_slice(&copy));
        block
    }

    /// The whole header, to be written anew.
    pub(crate) fn mend_all(&self) -> HeaderCopy {
        HeaderCopy { offset: 0, bytes: self.encode_block() }
    }

    /// The bytes of one copy.
    fn encode(&self) -> [u8; CRC_AT + 4] {
        let mut bytes = [0; CRC_AT + 4];
        bytes[..PREFIX_BYTES].copy_from_slice(&prefix::encode(MAGIC, SEGMENT_VERSION));
        let flags = if self.recycled { FLAG_RECYCLED } else { 0 };
        bytes[16..20].copy_from_slice(&self.group.0.to_le_bytes());
        bytes[20..24].copy_from_slice(&flags.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.base.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.base_offset.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.salt.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.file_bytes.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.created.unwrap_or_default().0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes the start of `file`, which must belong to `group`.
    pub(crate) fn decode(bytes: &[u8], file: &Path, group: GroupId) -> Result<SegmentHeader, OpenError> {
        let header = SegmentHeader::decode_any(bytes, file)?;
        if header.group != group {
            return Err(OpenError::OtherGroup { file: file.into(), found: header.group, expected: group });
        }
        Ok(header)
    }

    /// Decodes the start of `file`, whichever group it belongs to: the first whole copy.
    pub(crate) fn decode_any(block: &[u8], file: &Path) -> Result<SegmentHeader, OpenError> {
        let first = SegmentHeader::decode_copy(block, file);
        match &first {
            Err(OpenError::Damaged { .. }) => SegmentHeader::second_copy(block, file).or(first),
            _ => first,
        }
    }

    /// Where a copy has to be written anew, and its bytes; of two that contradict each other none.
    pub(crate) fn mend(block: &[u8], file: &Path) -> Option<HeaderCopy> {
        let [first_at, second_at] = COPIES_AT;
        match (SegmentHeader::decode_copy(block, file), SegmentHeader::second_copy(block, file)) {
            (Err(OpenError::Damaged { .. }), Ok(header)) => {
                Some(HeaderCopy { offset: first_at as u64, bytes: header.encode().to_vec() })
            }
            (Ok(header), Err(OpenError::Damaged { .. })) => {
                let had_one = block.get(second_at..).is_some_and(|copy| copy.iter().any(|byte| *byte != 0));
                had_one.then(|| HeaderCopy { offset: second_at as u64, bytes: header.encode().to_vec() })
            }
            _ => None,
        }
    }

    fn second_copy(block: &[u8], file: &Path) -> Result<SegmentHeader, OpenError> {
        SegmentHeader::decode_copy(block.get(COPIES_AT[1]..).unwrap_or_default(), file)
    }

    fn decode_copy(bytes: &[u8], file: &Path) -> Result<SegmentHeader, OpenError> {
        let version =
            prefix::decode(bytes, MAGIC, SEGMENT_VERSION).map_err(|error| error.of_file(file, SEGMENT_VERSION))?;
        let crc_at = if version == 1 { CRC_AT_IN_V1 } else { CRC_AT };
        if bytes.len() < crc_at + 4 || crc32c::crc32c(&bytes[..crc_at]) != u32_at(bytes, crc_at) {
            let reason = "the CRC of the segment header does not match".into();
            return Err(OpenError::Damaged { file: file.into(), reason });
        }
        Ok(SegmentHeader {
            group: GroupId(u32_at(bytes, 16)),
            base: LogIndex(u64_at(bytes, 24)),
            base_offset: u64_at(bytes, 32),
            salt: Salt(u64_at(bytes, 40)),
            file_bytes: u64_at(bytes, 48),
            created: (version > 1).then(|| UnixMillis(u64_at(bytes, 56))).filter(|created| created.0 > 0),
            recycled: version > 1 && u32_at(bytes, 20) & FLAG_RECYCLED != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_but_a_reserved_one_is_noticed() {
        let header = SegmentHeader {
            group: GroupId(2),
            base: LogIndex(40),
            base_offset: 9_000,
            salt: Salt(77),
            file_bytes: 1 << 20,
            created: Some(UnixMillis(1_767_225_600_000)),
            recycled: true,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes, Path::new("f"), GroupId(2)).unwrap(), header);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&damaged, Path::new("f"), GroupId(2)).is_err(), "bit {bit}");
        }
        let block = header.encode_block();
        assert_eq!(SegmentHeader::mend(&block, Path::new("f")), None);
        for (bit, at) in (0..bytes.len() * 8).zip(COPIES_AT.into_iter().cycle()) {
            let mut damaged = block.clone();
            damaged[at + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&damaged, Path::new("f"), GroupId(2)).unwrap(), header, "bit {bit}");
            assert_eq!(
                SegmentHeader::mend(&damaged, Path::new("f")),
                Some(HeaderCopy { offset: at as u64, bytes: bytes.to_vec() }),
                "bit {bit}"
            );
        }
    }
}
