//! AppendEntries: requests with their entries, and the answers.
//!
//! ```text
//!   request  length u32 │ head length u32 │ head │ CRC32C of the head │ payloads, one after the other
//!   head     vote 17 │ previous log id 17 │ leader's commit 17 │ entries u32
//!            │ each: kind u8, term u64, index u64, count u32, length u32, payload CRC32C u32
//!   answer   kind u8 │ vote or log id 17 │ the follower's wall clock u64
//! ```
//! Payloads are neither copied nor summed on the way out: a large one is its own piece of a vectored write, and its CRC
//! is the proposer's. The receiver checks it and passes both on to its disk (hazards 6).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};

use crate::raft::type_config::{TypeConfig, entry_of, log_id, record_of};
use crate::raft::wire::values::{VALUE_BYTES, checked, put_log_id, put_vote, take_log_id, take_number, take_vote};
use crate::raft::wire::{ENTRY_BYTES_LIMIT, FRAME_BYTES_MAX, WireError};
use crate::storage::{Record, RecordKind, Room};
use crate::types::{LogId, LogIndex, Term, UnixMillis};

/// Size of an answer.
pub(crate) const ANSWER_BYTES: usize = WALL_AT + 8;
/// Where in an answer the follower's clock stands.
const WALL_AT: usize = 1 + VALUE_BYTES;
/// Payloads up to this size are copied together; larger ones are written from where they are.
const COPIED_BYTES_MAX: usize = 4096;
pub(super) const ENTRY_HEAD_BYTES: usize = 29;
const FIXED_HEAD_BYTES: usize = 3 * VALUE_BYTES + 4;

const _: () = assert!(body_bytes(1, ENTRY_BYTES_LIMIT) <= FRAME_BYTES_MAX, "the largest entry fits into a frame");

/// Bytes of the body of a request with so many entries.
pub(crate) const fn body_bytes(entries: usize, payload_bytes: usize) -> usize {
    4 + head_bytes(entries) + 4 + payload_bytes
}

const fn head_bytes(entries: usize) -> usize {
    FIXED_HEAD_BYTES + entries * ENTRY_HEAD_BYTES
}

/// The request as pieces of a vectored write, length included.
pub(crate) fn encode_request(request: AppendEntriesRequest<TypeConfig>) -> Vec<Bytes> {
    let records: Vec<Record> = request.entries.into_iter().map(record_of).collect();
    let payload_bytes: usize = records.iter().map(|record| record.payload.len()).sum();
    let (head_bytes, body_bytes) = (head_bytes(records.len()), body_bytes(records.len(), payload_bytes));
    assert!(body_bytes <= FRAME_BYTES_MAX, "an append of {body_bytes} bytes is larger than a frame");

    let copied: usize = records.iter().map(|record| record.payload.len()).filter(|len| *len <= COPIED_BYTES_MAX).sum();
    let mut piece = BytesMut::with_capacity(8 + head_bytes + 4 + copied);
    piece.put_u32_le(u32::try_from(body_bytes).expect("below the frame's limit"));
    piece.put_u32_le(u32::try_from(head_bytes).expect("below the frame's limit"));
    put_vote(&mut piece, &request.vote);
    put_log_id(&mut piece, request.prev_log_id.as_ref());
    put_log_id(&mut piece, request.leader_commit.as_ref());
    piece.put_u32_le(u32::try_from(records.len()).expect("below the frame's limit"));
    for record in &records {
        put_entry_head(&mut piece, record);
    }
    let crc = crc32c::crc32c(&piece[8..]);
    piece.put_u32_le(crc);
    with_payloads(piece, records)
}

/// `piece`, with small payloads copied behind it and large ones as pieces of their own.
fn with_payloads(mut piece: BytesMut, records: Vec<Record>) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    for record in records {
        if record.payload.len() <= COPIED_BYTES_MAX {
            piece.put_slice(&record.payload);
        } else {
            let before = piece.split().freeze();
            pieces.extend((!before.is_empty()).then_some(before));
            pieces.push(record.payload);
        }
    }
    pieces.extend((!piece.is_empty()).then(|| piece.freeze()));
    pieces
}

/// The request in a frame's body; payloads share its memory.
pub(crate) fn decode_request(mut body: Bytes) -> Result<AppendEntriesRequest<TypeConfig>, WireError> {
    let head_bytes = usize::try_from(body.try_get_u32_le()?).map_err(|_| cut())?;
    let sealed_bytes = head_bytes.checked_add(4).filter(|bytes| *bytes <= body.len()).ok_or_else(cut)?;
    let sealed = body.split_to(sealed_bytes);
    let mut head = checked(&sealed)?;
    let vote = take_vote(&mut head)?;
    let prev_log_id = take_log_id(&mut head)?;
    let leader_commit = take_log_id(&mut head)?;
    let count = usize::try_from(head.try_get_u32_le()?).map_err(|_| cut())?;
    if head.len() != count * ENTRY_HEAD_BYTES {
        return Err(cut());
    }
    if !vote.committed {
        return Err(WireError(format!("an append under {vote}, by which nobody leads")));
    }
    let mut before = prev_log_id.map(log_id);
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let record = take_record(&mut head, &mut body)?;
        check_follows(before, record.id)?;
        before = Some(record.id);
        entries.push(entry_of(record).map_err(WireError)?);
    }
    for (what, id) in [("entry", before), ("committed entry", leader_commit.map(log_id))] {
        if id.is_some_and(|id| id.term.0 > vote.leader_id.term) {
            return Err(WireError(format!("an append under {vote} states a {what} of a later term: {id:?}")));
        }
    }
    if !body.is_empty() {
        return Err(WireError(format!("{} bytes behind the last entry", body.len())));
    }
    Ok(AppendEntriesRequest { vote, prev_log_id, leader_commit, entries })
}

/// Whether an entry may stand behind `before`, or first of all: without a gap, and in no earlier term. The log would take
/// anything else for the mistake of its own program, and stop the node.
fn check_follows(before: Option<LogId>, id: LogId) -> Result<(), WireError> {
    let expected = before.map_or(LogIndex(0), |before| before.index.next());
    if id.index == expected && before.is_none_or(|before| id.term >= before.term) {
        return Ok(());
    }
    Err(WireError(format!("entry {id} does not follow {}", before.map_or("nothing".to_owned(), |id| id.to_string()))))
}

fn cut() -> WireError {
    WireError("an append request is cut".to_owned())
}

/// The fixed part of an entry; its payload stands elsewhere.
pub(super) fn put_entry_head(out: &mut BytesMut, record: &Record) {
    out.put_u8(match record.kind {
        RecordKind::Blank => 0,
        RecordKind::Command => 1,
        RecordKind::Membership => 2,
    });
    out.put_u64_le(record.id.term.0);
    out.put_u64_le(record.id.index.0);
    out.put_u32_le(record.count);
    out.put_u32_le(u32::try_from(record.payload.len()).expect("below the frame's limit"));
    out.put_u32_le(record.payload_crc);
}

/// The next entry, whose payload must match the CRC that it came with.
pub(super) fn take_record(head: &mut &[u8], payloads: &mut Bytes) -> Result<Record, WireError> {
    let kind = match head.try_get_u8()? {
        0 => RecordKind::Blank,
        1 => RecordKind::Command,
        2 => RecordKind::Membership,
        other => return Err(WireError(format!("unknown kind of entry {other}"))),
    };
    let id = LogId { term: Term(take_number(head)?), index: LogIndex(take_number(head)?) };
    let count = head.try_get_u32_le()?;
    let length = usize::try_from(head.try_get_u32_le()?).map_err(|_| cut())?;
    let payload_crc = head.try_get_u32_le()?;
    if length > payloads.len() {
        return Err(cut());
    }
    let payload = payloads.split_to(length);
    if crc32c::crc32c(&payload) != payload_crc {
        return Err(WireError(format!("the payload of entry {id} does not match its CRC")));
    }
    Ok(Record { id, kind, count, payload, payload_crc })
}

/// The highest bit of an answer's kind: the follower's disk is low.
const LOW_BIT: u8 = 0x80;

/// What a follower tells of itself with each answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Whether its disk has room (hazards 9).
    pub(crate) room: Room,
    /// What its wall clock shows (hazards 19).
    pub(crate) wall: UnixMillis,
}

pub(crate) fn encode_answer(answer: &StreamAppendResult<TypeConfig>, report: Report) -> [u8; ANSWER_BYTES] {
    let mut bytes = [0; ANSWER_BYTES];
    bytes[WALL_AT..].copy_from_slice(&report.wall.0.to_le_bytes());
    let mut out = &mut bytes[..WALL_AT];
    match answer {
        Ok(matched) => {
            out.put_u8(0);
            put_log_id(&mut out, matched.as_ref());
        }
        Err(StreamAppendError::Conflict(id)) => {
            out.put_u8(1);
            put_log_id(&mut out, Some(id));
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            out.put_u8(2);
            put_vote(&mut out, vote);
        }
    }
    if report.room == Room::Low {
        bytes[0] |= LOW_BIT;
    }
    bytes
}

/// What an answer says about the follower.
pub(crate) fn report_of_answer(bytes: &[u8; ANSWER_BYTES]) -> Report {
    let room = if bytes[0] & LOW_BIT == 0 { Room::Enough } else { Room::Low };
    let wall = bytes.last_chunk().copied().map(u64::from_le_bytes).expect("an answer ends with a clock");
    Report { room, wall: UnixMillis(wall) }
}

pub(crate) fn decode_answer(bytes: &[u8; ANSWER_BYTES]) -> Result<StreamAppendResult<TypeConfig>, WireError> {
    let mut input = &bytes[..];
    match input.try_get_u8()? & !LOW_BIT {
        0 => Ok(Ok(take_log_id(&mut input)?)),
        1 => {
            let id = take_log_id(&mut input)?.ok_or_else(|| WireError("a conflict without log id".to_owned()))?;
            Ok(Err(StreamAppendError::Conflict(id)))
        }
        2 => Ok(Err(StreamAppendError::HigherVote(take_vote(&mut input)?))),
        other => Err(WireError(format!("unknown answer {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::type_config::{RaftLogId, RaftVote};
    use crate::types::NodeId;
    use openraft::impls::leader_id_std::LeaderId;

    fn vote() -> RaftVote {
        openraft::Vote { leader_id: LeaderId { term: 4, voted_for: NodeId(2) }, committed: true }
    }

    fn request() -> AppendEntriesRequest<TypeConfig> {
        let payloads = [Bytes::from(vec![7; 100]), Bytes::from(vec![8; COPIED_BYTES_MAX + 1]), Bytes::new()];
        let entries = payloads.into_iter().enumerate().map(|(i, payload)| {
            let id = LogId { term: Term(4), index: LogIndex(11 + i as u64) };
            entry_of(Record::new(id, RecordKind::Command, 3, payload)).unwrap()
        });
        AppendEntriesRequest {
            vote: vote(),
            prev_log_id: Some(RaftLogId::new_term_index(3, 10)),
            leader_commit: None,
            entries: entries.collect(),
        }
    }

    fn body(pieces: Vec<Bytes>) -> Bytes {
        let mut frame: Bytes = pieces.concat().into();
        assert_eq!(frame.get_u32_le() as usize, frame.len());
        frame
    }

    #[test]
    fn a_request_survives_the_wire_and_large_payloads_are_not_copied() {
        let large = match &request().entries[1].payload {
            openraft::EntryPayload::Normal(command) => command.payload.clone(),
            other => panic!("{other:?}"),
        };
        let pieces = encode_request(request());
        assert_eq!(pieces.len(), 2, "an empty payload behind a large one adds no piece");
        assert_eq!(pieces[1], large);
        let decoded = decode_request(body(pieces)).unwrap();
        assert_eq!(decoded.entries, request().entries);
        assert_eq!((decoded.vote, decoded.prev_log_id, decoded.leader_commit), (vote(), request().prev_log_id, None));
    }

    // Hazards 6: a follower writes a payload only when it matches the CRC that it came with.
    #[test]
    fn no_flipped_bit_and_no_cut_passes() {
        let good = body(encode_request(request()));
        for at in (4..good.len()).step_by(7) {
            let mut bad = BytesMut::from(&good[..]);
            bad[at] ^= 0x10;
            assert!(decode_request(bad.freeze()).is_err(), "flip at {at}");
        }
        for length in (0..good.len()).step_by(5) {
            assert!(decode_request(good.slice(..length)).is_err(), "cut at {length}");
        }
    }

    // Hazards 6: the sender adds no CRC of its own, which would vouch for whatever its memory has made of the payload.
    #[test]
    fn a_payload_that_changed_at_its_sender_is_refused() {
        let mut bad = request();
        let openraft::EntryPayload::Normal(command) = &mut bad.entries[0].payload else { panic!("it is a command") };
        command.payload = Bytes::from(vec![9; 100]);
        assert!(decode_request(body(encode_request(bad))).is_err());
    }

    // C1: each of these reached the log, which stopped the node.
    #[test]
    fn entries_that_do_not_follow_each_other_are_refused() {
        type Change = fn(&mut AppendEntriesRequest<TypeConfig>);
        let changes: [(&str, Change); 7] = [
            ("a gap", |request| request.entries[1].log_id.index += 1),
            ("a repetition", |request| request.entries[2].log_id.index -= 1),
            ("a gap behind what is before", |request| request.prev_log_id = Some(RaftLogId::new_term_index(3, 9))),
            ("nothing before", |request| request.prev_log_id = None),
            ("a falling term", |request| request.entries[1].log_id.leader_id.term = 3),
            ("a term above the leader's", |request| request.entries[2].log_id.leader_id.term = 5),
            ("a vote by which nobody leads", |request| request.vote.committed = false),
        ];
        assert!(decode_request(body(encode_request(request()))).is_ok());
        for (what, change) in changes {
            let mut bad = request();
            change(&mut bad);
            assert!(decode_request(body(encode_request(bad))).is_err(), "{what}");
        }
        let mut first = request();
        first.prev_log_id = None;
        first.entries.truncate(1);
        first.entries[0].log_id.index = 0;
        assert!(decode_request(body(encode_request(first))).is_ok(), "the first entry of all");
    }

    #[test]
    fn answers_survive_the_wire() {
        let id = RaftLogId::new_term_index(4, 12);
        let answers: [StreamAppendResult<TypeConfig>; 4] =
            [Ok(None), Ok(Some(id)), Err(StreamAppendError::Conflict(id)), Err(StreamAppendError::HigherVote(vote()))];
        for answer in answers {
            for room in [Room::Enough, Room::Low] {
                let report = Report { room, wall: UnixMillis(1_767_225_600_123) };
                let bytes = encode_answer(&answer, report);
                assert_eq!((decode_answer(&bytes).unwrap(), report_of_answer(&bytes)), (answer.clone(), report));
            }
        }
    }
}
