//! The header of a record.
//!
//! ```text
//!    0 payload bytes u32 │ 4 version u8 │ 5 kind u8 │ 6 salt tag u16 │
//!    8 term u64 │ 16 index u64 │ 24 own offset u64 │ 32 durable end u64 │
//!   40 count u32 │ 44 payload CRC32C u32 │ 48 reserved u32 │ 52 header CRC32C u32, seeded with the salt │
//!   56 payload, then zeroes up to a multiple of 8
//! ```
//! *Own offset* is where the record begins in its file: a record that was moved is no record. *Durable end* is the
//! durable mark (hazards 3): all entries below this index were durable when the write was issued. A header of 56 zeroes
//! is unwritten space.

use super::{Salt, u32_at, u64_at};
use crate::storage::{Record, RecordKind};
use crate::types::{LogId, LogIndex, Term};

/// Length of a record header.
pub(crate) const RECORD_HEADER_BYTES: usize = 56;
/// Records begin at multiples of this.
pub(crate) const RECORD_ALIGN_BYTES: u64 = 8;
/// The version of the record format that is written, and the highest that is read.
const RECORD_VERSION: u8 = 1;
const CRC_AT: usize = 52;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderKind {
    /// An entry of the log.
    Entry(RecordKind),
    /// No entry: only carries a durable mark, with the term and index of the entry before it.
    Mark,
}

/// A decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) payload_bytes: u32,
    pub(crate) kind: HeaderKind,
    pub(crate) id: LogId,
    pub(crate) own_offset: u64,
    pub(crate) durable_end: LogIndex,
    pub(crate) count: u32,
    pub(crate) payload_crc: u32,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// All zero: unwritten space.
    Unwritten,
    /// The CRC does not match.
    Crc,
    /// The device cannot read it.
    Unreadable,
    /// It stands at its place, but under another salt.
    OtherSalt { index: LogIndex },
    /// Intact, but of a newer format.
    Newer { version: u8 },
    /// Intact, but of no known kind.
    UnknownKind { kind: u8 },
    /// Intact, but written for another place in the file.
    Moved { own_offset: u64 },
}

impl RecordHeader {
    /// The header of `record`, to be written at `own_offset`.
    pub(crate) fn of_record(record: &Record, own_offset: u64, durable_end: LogIndex) -> RecordHeader {
        RecordHeader {
            payload_bytes: u32::try_from(record.payload.len()).expect("payloads are bounded far below 4 GiB"),
            kind: HeaderKind::Entry(record.kind),
            id: record.id,
            own_offset,
            durable_end,
            count: record.count,
            payload_crc: record.payload_crc,
        }
    }

    /// The header of a mark behind the entry `id`.
    pub(crate) fn of_mark(id: LogId, own_offset: u64, durable_end: LogIndex) -> RecordHeader {
        assert!(durable_end.0 <= id.index.0 + 1, "a mark never claims what is not written");
        RecordHeader {
            payload_bytes: 0,
            kind: HeaderKind::Mark,
            id,
            own_offset,
            durable_end,
            count: 0,
            payload_crc: crc32c::crc32c(&[]),
        }
    }

    /// Bytes from this record's begin to the next one's.
    pub(crate) fn stride(&self) -> u64 {
        stride_of(self.payload_bytes as usize)
    }

    pub(crate) fn encode(&self, salt: Salt) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[4] = RECORD_VERSION;
        bytes[5] = code_of(self.kind);
        bytes[6..8].copy_from_slice(&salt.tag().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.id.term.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.index.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.own_offset.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.durable_end.0.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.count.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32c::crc32c_append(salt.seed(), &bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes the header that begins at `offset` of a segment with this salt.
    pub(crate) fn decode(
        bytes: &[u8; RECORD_HEADER_BYTES],
        salt: Salt,
        offset: u64,
    ) -> Result<RecordHeader, HeaderFault> {
        let own_offset = u64_at(bytes, 24);
        let index = LogIndex(u64_at(bytes, 16));
        if crc32c::crc32c_append(salt.seed(), &bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) {
            let tag = u16::from_le_bytes([bytes[6], bytes[7]]);
            return Err(if bytes.iter().all(|byte| *byte == 0) {
                HeaderFault::Unwritten
            } else if tag != 0 && tag != salt.tag() && own_offset == offset {
                HeaderFault::OtherSalt { index }
            } else {
                HeaderFault::Crc
            });
        }
        if bytes[4] != RECORD_VERSION {
            return Err(HeaderFault::Newer { version: bytes[4] });
        }
        if own_offset != offset {
            return Err(HeaderFault::Moved { own_offset });
        }
        let kind = kind_of(bytes[5]).ok_or(HeaderFault::UnknownKind { kind: bytes[5] })?;
        Ok(RecordHeader {
            payload_bytes: u32_at(bytes, 0),
            kind,
            id: LogId { term: Term(u64_at(bytes, 8)), index },
            own_offset,
            durable_end: LogIndex(u64_at(bytes, 32)),
            count: u32_at(bytes, 40),
            payload_crc: u32_at(bytes, 44),
        })
    }
}

/// Bytes from the begin of a record with this payload to the begin of the next.
pub(crate) fn stride_of(payload_bytes: usize) -> u64 {
    (RECORD_HEADER_BYTES as u64 + payload_bytes as u64).next_multiple_of(RECORD_ALIGN_BYTES)
}

fn code_of(kind: HeaderKind) -> u8 {
    match kind {
        HeaderKind::Entry(RecordKind::Blank) => 1,
        HeaderKind::Entry(RecordKind::Command) => 2,
        HeaderKind::Entry(RecordKind::Membership) => 3,
        HeaderKind::Mark => 4,
    }
}

fn kind_of(code: u8) -> Option<HeaderKind> {
    match code {
        1 => Some(HeaderKind::Entry(RecordKind::Blank)),
        2 => Some(HeaderKind::Entry(RecordKind::Command)),
        3 => Some(HeaderKind::Entry(RecordKind::Membership)),
        4 => Some(HeaderKind::Mark),
        _ => None,
    }
}

impl std::fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HeaderFault::Unwritten => f.write_str("zeroes where a record should begin"),
            HeaderFault::Crc => f.write_str("the CRC of the record header does not match"),
            HeaderFault::Unreadable => f.write_str("the device cannot read the record header"),
            HeaderFault::OtherSalt { .. } => f.write_str("the record was written under another salt"),
            HeaderFault::Newer { version } => write!(f, "the record has format version {version}"),
            HeaderFault::UnknownKind { kind } => write!(f, "the record is of unknown kind {kind}"),
            HeaderFault::Moved { own_offset } => write!(f, "the record was written for offset {own_offset}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn header() -> RecordHeader {
        let id = LogId { term: Term(3), index: LogIndex(17) };
        let record = Record::new(id, RecordKind::Command, 5, Bytes::from_static(b"payload"));
        RecordHeader::of_record(&record, 4_096, LogIndex(12))
    }

    #[test]
    fn a_header_comes_back_as_it_was_written() {
        let salt = Salt(99);
        assert_eq!(RecordHeader::decode(&header().encode(salt), salt, 4_096), Ok(header()));
        assert_eq!(header().stride(), 64);
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let salt = Salt(0x1234_5678_9abc_def0);
        for bit in 0..RECORD_HEADER_BYTES * 8 {
            let mut bytes = header().encode(salt);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(RecordHeader::decode(&bytes, salt, 4_096).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_record_of_another_salt_or_place_is_no_record() {
        let bytes = header().encode(Salt(99));
        let other = RecordHeader::decode(&bytes, Salt(98), 4_096);
        assert_eq!(other, Err(HeaderFault::OtherSalt { index: LogIndex(17) }));
        let moved = RecordHeader::decode(&bytes, Salt(99), 8_192);
        assert_eq!(moved, Err(HeaderFault::Moved { own_offset: 4_096 }));
        let nothing = RecordHeader::decode(&[0; RECORD_HEADER_BYTES], Salt(99), 4_096);
        assert_eq!(nothing, Err(HeaderFault::Unwritten));
    }

    #[test]
    fn a_newer_record_version_is_told_from_damage() {
        // hazards 30
        let salt = Salt(7);
        let mut bytes = header().encode(salt);
        bytes[4] = RECORD_VERSION + 1;
        let crc = crc32c::crc32c_append(salt.seed(), &bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(RecordHeader::decode(&bytes, salt, 4_096), Err(HeaderFault::Newer { version: 2 }));
    }
}
