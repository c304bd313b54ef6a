//! Ranges of the log for a node whose own is damaged (hazards 8).
//!
//! ```text
//!   request  first u64 │ end u64 (exclusive) │ anchor: term u64, index u64 │ CRC32C
//!   answer   head length u32 │ head │ CRC32C of the head │ payloads, one after the other
//!   head     0 not held │ 1 held, entries u32, each as in an append
//! ```
//! A node answers with entries only if its log holds the anchor; then, by log matching, they are the asker's own.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::raft::wire::append::{ENTRY_HEAD_BYTES, put_entry_head, take_record};
use crate::raft::wire::values::{checked, seal};
use crate::raft::wire::{ENTRY_BYTES_LIMIT, FRAME_BYTES_MAX, WireError};
use crate::storage::Record;
use crate::storage::repair::RangeRequest;
use crate::types::{LogId, LogIndex, Term};

/// Payload bytes of an answer; one larger entry passes alone.
pub(crate) const RANGE_BYTES_MAX: usize = 1 << 20;
/// Entries of an answer. Beside their payloads they have heads: tiny ones would fill more than a frame with those alone. The
/// asker goes on behind what it gets.
const RANGE_ENTRIES_MAX: usize = 32_768;
const _: () = assert!(
    RANGE_ENTRIES_MAX * ENTRY_HEAD_BYTES + RANGE_BYTES_MAX + ENVELOPE_BYTES <= FRAME_BYTES_MAX,
    "an answer of many entries fits into a frame"
);
const _: () = assert!(
    ENTRY_HEAD_BYTES + ENTRY_BYTES_LIMIT + ENVELOPE_BYTES <= FRAME_BYTES_MAX,
    "an answer of the largest entry fits into a frame"
);
/// What an answer has beside heads and payloads: length, kind, count, CRC.
const ENVELOPE_BYTES: usize = 4 + 1 + 4 + 4;

const NOT_HELD: u8 = 0;
const HELD: u8 = 1;

pub(crate) fn encode_request(request: &RangeRequest) -> BytesMut {
    let mut out = BytesMut::with_capacity(40);
    out.put_u64_le(request.first.0);
    out.put_u64_le(request.end.0);
    out.put_u64_le(request.anchor.term.0);
    out.put_u64_le(request.anchor.index.0);
    seal(&mut out);
    out
}

pub(crate) fn decode_request(body: &[u8]) -> Result<RangeRequest, WireError> {
    let mut input = checked(body)?;
    let (first, end) = (LogIndex(input.try_get_u64_le()?), LogIndex(input.try_get_u64_le()?));
    let anchor = LogId { term: Term(input.try_get_u64_le()?), index: LogIndex(input.try_get_u64_le()?) };
    if first >= end || end.0 > anchor.index.0.saturating_add(1) {
        return Err(WireError(format!("no range that {anchor} vouches for: from {first}, before {end}")));
    }
    Ok(RangeRequest { first, end, anchor })
}

/// The body of an answer: as many of the entries as one holds, or `None` for "not held".
pub(crate) fn encode_answer(records: Option<&[Record]>) -> BytesMut {
    let records = records.map(|records| &records[..records.len().min(RANGE_ENTRIES_MAX)]);
    let mut head = BytesMut::new();
    head.put_u8(if records.is_some() { HELD } else { NOT_HELD });
    let records = records.unwrap_or_default();
    head.put_u32_le(u32::try_from(records.len()).expect("below the frame's limit"));
    records.iter().for_each(|record| put_entry_head(&mut head, record));
    seal(&mut head);
    let payload_bytes: usize = records.iter().map(|record| record.payload.len()).sum();
    let mut out = BytesMut::with_capacity(4 + head.len() + payload_bytes);
    out.put_u32_le(u32::try_from(head.len()).expect("below the frame's limit"));
    out.extend_from_slice(&head);
    records.iter().for_each(|record| out.extend_from_slice(&record.payload));
    assert!(out.len() <= FRAME_BYTES_MAX, "an answer of {} bytes is larger than a frame", out.len());
    out
}

pub(crate) fn decode_answer(mut body: Bytes) -> Result<Option<Vec<Record>>, WireError> {
    let cut = || WireError("a range is cut".to_owned());
    let sealed_bytes = usize::try_from(body.try_get_u32_le()?).map_err(|_| cut())?;
    if sealed_bytes > body.len() {
        return Err(cut());
    }
    let sealed = body.split_to(sealed_bytes);
    let mut head = checked(&sealed)?;
    let kind = head.try_get_u8()?;
    let count = usize::try_from(head.try_get_u32_le()?).map_err(|_| cut())?;
    if head.len() != count * ENTRY_HEAD_BYTES {
        return Err(cut());
    }
    let mut records = Vec::with_capacity(count);
    for _ in 0..count {
        records.push(take_record(&mut head, &mut body)?);
    }
    match kind {
        NOT_HELD => Ok(None),
        HELD if body.is_empty() => Ok(Some(records)),
        HELD => Err(WireError(format!("{} bytes behind the last entry", body.len()))),
        other => Err(WireError(format!("unknown answer {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::RecordKind;

    fn id(term: u64, index: u64) -> LogId {
        LogId { term: Term(term), index: LogIndex(index) }
    }

    #[test]
    fn requests_and_answers_survive_the_wire_and_damage_does_not_pass() {
        let request = RangeRequest { first: LogIndex(5), end: LogIndex(9), anchor: id(3, 9) };
        assert_eq!(decode_request(&encode_request(&request)).unwrap(), request);
        let records = [
            Record::new(id(2, 5), RecordKind::Command, 3, Bytes::from(vec![7; 300])),
            Record::new(id(3, 6), RecordKind::Blank, 0, Bytes::new()),
        ];
        assert_eq!(decode_answer(encode_answer(None).freeze()).unwrap(), None);
        let good = encode_answer(Some(&records)).freeze();
        assert_eq!(decode_answer(good.clone()).unwrap().unwrap(), records);
        for at in 4..good.len() {
            let mut bad = BytesMut::from(&good[..]);
            bad[at] ^= 4;
            assert!(decode_answer(bad.freeze()).is_err(), "flip at {at}");
        }
    }

    // A hole of more than 20 MiB of empty entries: their heads alone would be larger than a frame.
    #[test]
    fn an_answer_of_very_many_empty_entries_fits_into_a_frame() {
        let records: Vec<Record> =
            (0..400_000).map(|index| Record::new(id(1, index), RecordKind::Command, 0, Bytes::new())).collect();
        let answered = decode_answer(encode_answer(Some(&records)).freeze()).unwrap().unwrap();
        assert_eq!(answered, records[..RANGE_ENTRIES_MAX]);
    }

    #[test]
    fn a_range_that_its_anchor_does_not_vouch_for_is_refused() {
        let request = RangeRequest { first: LogIndex(5), end: LogIndex(9), anchor: id(3, 7) };
        assert!(decode_request(&encode_request(&request)).is_err());
    }
}
