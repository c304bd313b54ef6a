//! Votes and log ids on the wire: fixed sizes, a flag before what may be absent.

use bytes::{Buf, BufMut};
use openraft::impls::leader_id_std::LeaderId;

use crate::raft::type_config::{RaftLogId, RaftVote};
use crate::raft::wire::WireError;
use crate::types::NodeId;

/// Bytes of a vote or of an optional log id.
pub(crate) const VALUE_BYTES: usize = 17;
/// Terms and indexes end here: none that is counted up one by one ever gets there, and what is above could overflow in
/// arithmetic behind the door.
pub(super) const NUMBER_END: u64 = 1 << 62;

pub(crate) fn put_vote(out: &mut impl BufMut, vote: &RaftVote) {
    out.put_u8(u8::from(vote.committed));
    out.put_u64_le(vote.leader_id.term);
    out.put_u64_le(vote.leader_id.voted_for.0);
}

pub(crate) fn take_vote(input: &mut impl Buf) -> Result<RaftVote, WireError> {
    let committed = take_flag(input)?;
    let term = take_number(input)?;
    let voted_for = NodeId(input.try_get_u64_le()?);
    Ok(openraft::Vote { leader_id: LeaderId { term, voted_for }, committed })
}

pub(crate) fn put_log_id(out: &mut impl BufMut, id: Option<&RaftLogId>) {
    out.put_u8(u8::from(id.is_some()));
    out.put_u64_le(id.map_or(0, |id| id.leader_id.term));
    out.put_u64_le(id.map_or(0, |id| id.index));
}

pub(crate) fn take_log_id(input: &mut impl Buf) -> Result<Option<RaftLogId>, WireError> {
    let present = take_flag(input)?;
    let id = RaftLogId::new_term_index(take_number(input)?, take_number(input)?);
    Ok(present.then_some(id))
}

/// A term or an index, below what arithmetic can bear.
pub(crate) fn take_number(input: &mut impl Buf) -> Result<u64, WireError> {
    let number = input.try_get_u64_le()?;
    if number < NUMBER_END { Ok(number) } else { Err(WireError(format!("{number} is no term and no index"))) }
}

pub(crate) fn take_flag(input: &mut impl Buf) -> Result<bool, WireError> {
    match input.try_get_u8()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(WireError(format!("{other} is no flag"))),
    }
}

/// Takes the CRC32C (u32) off the end of `body` and checks it.
pub(crate) fn checked(body: &[u8]) -> Result<&[u8], WireError> {
    let (content, crc) = body.split_last_chunk::<4>().ok_or_else(|| WireError("no room for a CRC".to_owned()))?;
    if crc32c::crc32c(content) == u32::from_le_bytes(*crc) {
        Ok(content)
    } else {
        Err(WireError("its CRC does not match".to_owned()))
    }
}

/// Appends the CRC32C of what `out` holds.
pub(crate) fn seal(out: &mut bytes::BytesMut) {
    let crc = crc32c::crc32c(out);
    out.put_u32_le(crc);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    #[test]
    fn votes_and_log_ids_survive_the_wire() {
        let vote = openraft::Vote { leader_id: LeaderId { term: 3, voted_for: NodeId(9) }, committed: true };
        let id = RaftLogId::new_term_index(3, 70);
        let mut out = BytesMut::new();
        put_vote(&mut out, &vote);
        assert_eq!(out.len(), VALUE_BYTES);
        put_log_id(&mut out, Some(&id));
        put_log_id(&mut out, None);
        assert_eq!(out.len(), 3 * VALUE_BYTES);
        assert_eq!(take_vote(&mut out).unwrap(), vote);
        assert_eq!(take_log_id(&mut out).unwrap(), Some(id));
        assert_eq!(take_log_id(&mut out).unwrap(), None);
        assert!(take_log_id(&mut out).is_err(), "nothing is left");
    }

    // C1: a term at the end of the numbers poisoned the saved vote for ever, and the next one overflowed.
    #[test]
    fn terms_and_indexes_that_nothing_counts_up_to_are_refused() {
        for (term, index) in [(u64::MAX, 0), (0, u64::MAX), (NUMBER_END, 0), (0, NUMBER_END)] {
            let mut out = BytesMut::new();
            put_log_id(&mut out, Some(&RaftLogId::new_term_index(term, index)));
            assert!(take_log_id(&mut out).is_err(), "{term}.{index}");
        }
        let vote = openraft::Vote { leader_id: LeaderId { term: NUMBER_END, voted_for: NodeId(9) }, committed: false };
        let mut out = BytesMut::new();
        put_vote(&mut out, &vote);
        assert!(take_vote(&mut out).is_err());
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let mut out = BytesMut::from(&b"message"[..]);
        seal(&mut out);
        assert_eq!(checked(&out).unwrap(), b"message");
        out[2] ^= 4;
        assert!(checked(&out).is_err());
    }
}
