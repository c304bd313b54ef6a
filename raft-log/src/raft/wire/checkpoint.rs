//! The transfer of a checkpoint: an offer, chunks one by one, the end.
//!
//! ```text
//!   sender                                          receiver
//!   offer   kind 1 │ vote 17 │ manifest │ CRC ►
//!                                                   ◄ answer: wanted, the number of the next chunk
//!   chunk   kind 2 │ number u64 │ bytes       ►     ◄ answer: wanted ... as often as there are chunks
//!   install kind 3                            ►     ◄ answer: done, with the receiver's vote
//!
//!   answer  kind u8 (1 wanted, 2 done, 3 refused) │ vote 17 │ number u64 │ text │ CRC
//! ```
//! A chunk has no CRC of its own: the manifest states it. After a lost connection the sender offers the same manifest
//! again, and is told where to go on.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::impls::leader_id_std::LeaderId;

use crate::checkpoint::Manifest;
use crate::raft::type_config::RaftVote;
use crate::raft::wire::WireError;
use crate::raft::wire::values::{NUMBER_END, checked, put_vote, seal, take_vote};
use crate::types::NodeId;

/// A request on a checkpoint connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CheckpointRequest {
    /// This leader has this checkpoint for you.
    Offer { vote: RaftVote, manifest: Manifest },
    /// The chunk that was wanted.
    Chunk { number: u64, bytes: Bytes },
    /// You have everything: install it.
    Install,
}

/// The answer to any of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CheckpointAnswer {
    /// Send this chunk next; the count of chunks when all are there.
    Wanted(u64),
    /// It is installed or not needed, or the receiver follows a newer leader: the vote tells.
    Done(RaftVote),
    /// It cannot be taken; the connection is closed.
    Refused(String),
}

impl CheckpointRequest {
    pub(crate) fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(256);
        match self {
            CheckpointRequest::Offer { vote, manifest } => {
                out.put_u8(1);
                put_vote(&mut out, vote);
                out.put_slice(&manifest.encode());
                seal(&mut out);
            }
            CheckpointRequest::Chunk { number, bytes } => {
                out.reserve(9 + bytes.len());
                out.put_u8(2);
                out.put_u64_le(*number);
                out.put_slice(bytes);
            }
            CheckpointRequest::Install => out.put_u8(3),
        }
        out
    }

    pub(crate) fn decode(mut body: Bytes) -> Result<CheckpointRequest, WireError> {
        match body.first() {
            Some(1) => {
                let mut input = &checked(&body)?[1..];
                let vote = take_vote(&mut input)?;
                let manifest = Manifest::decode(input).map_err(|reason| WireError(format!("a manifest: {reason}")))?;
                let id = manifest.id();
                if !vote.committed || id.term.0 > vote.leader_id.term || id.index.0 >= NUMBER_END {
                    return Err(WireError(format!("a checkpoint of entry {id} under {vote}")));
                }
                Ok(CheckpointRequest::Offer { vote, manifest })
            }
            Some(2) => {
                body.advance(1);
                Ok(CheckpointRequest::Chunk { number: body.try_get_u64_le()?, bytes: body })
            }
            Some(3) => Ok(CheckpointRequest::Install),
            other => Err(WireError(format!("unknown checkpoint request {other:?}"))),
        }
    }
}

impl CheckpointAnswer {
    pub(crate) fn encode(&self) -> BytesMut {
        let none = openraft::Vote { leader_id: LeaderId { term: 0, voted_for: NodeId(0) }, committed: false };
        let (kind, vote, number, text) = match self {
            CheckpointAnswer::Wanted(number) => (1, &none, *number, ""),
            CheckpointAnswer::Done(vote) => (2, vote, 0, ""),
            CheckpointAnswer::Refused(reason) => (3, &none, 0, &reason[..]),
        };
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(kind);
        put_vote(&mut out, vote);
        out.put_u64_le(number);
        out.put_slice(text.as_bytes());
        seal(&mut out);
        out
    }

    pub(crate) fn decode(body: &[u8]) -> Result<CheckpointAnswer, WireError> {
        let mut input = checked(body)?;
        let kind = input.try_get_u8()?;
        let vote = take_vote(&mut input)?;
        let number = input.try_get_u64_le()?;
        match kind {
            1 => Ok(CheckpointAnswer::Wanted(number)),
            2 => Ok(CheckpointAnswer::Done(vote)),
            3 => Ok(CheckpointAnswer::Refused(String::from_utf8_lossy(input).into_owned())),
            other => Err(WireError(format!("unknown answer to a checkpoint {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_machine::AppliedPoint;
    use crate::types::{GroupId, LogId, LogIndex, Term};

    #[test]
    fn requests_and_answers_survive_the_wire() {
        let vote = openraft::Vote { leader_id: LeaderId { term: 4, voted_for: NodeId(2) }, committed: true };
        let id = LogId { term: Term(1), index: LogIndex(8) };
        let manifest = Manifest { group: GroupId(1), point: AppliedPoint { id, membership: None }, files: Vec::new() };
        let requests = [
            CheckpointRequest::Offer { vote, manifest },
            CheckpointRequest::Chunk { number: 7, bytes: Bytes::from_static(b"chunk") },
            CheckpointRequest::Install,
        ];
        for request in requests {
            assert_eq!(CheckpointRequest::decode(request.encode().freeze()).unwrap(), request);
        }
        for answer in
            [CheckpointAnswer::Wanted(9), CheckpointAnswer::Done(vote), CheckpointAnswer::Refused("full".into())]
        {
            assert_eq!(CheckpointAnswer::decode(&answer.encode()).unwrap(), answer);
        }
        assert!(CheckpointRequest::decode(Bytes::new()).is_err());
    }
}
