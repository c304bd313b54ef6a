//! Votes, pre-votes and leadership transfer: one request, one answer.
//!
//! ```text
//!   request  kind u8 │ vote 17 │ log id 17 │ vote kinds: transfer flag u8; transfer: target node u64 │ CRC32C
//!   answer   vote 17 │ log id 17 │ granted u8 │ CRC32C
//! ```
//! The answer to a transfer uses the same fields: granted, or the vote and log id that stand against it. So does that to
//! the question whether the one called leads: granted, or the vote that it knows.

use bytes::{Buf, BufMut, BytesMut};
use openraft::raft::{TransferLeaderRequest, VoteRequest, VoteResponse};

use crate::raft::type_config::{RaftLogId, RaftVote, TypeConfig};
use crate::raft::wire::WireError;
use crate::raft::wire::values::{checked, put_log_id, put_vote, seal, take_flag, take_log_id, take_vote};
use crate::types::NodeId;

/// A request on a call connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallRequest {
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    Transfer(TransferLeaderRequest<TypeConfig>),
    /// Whether the one called leads under this vote of its own, or a later one.
    Leads(RaftVote),
}

/// The answer to any of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallAnswer {
    pub(crate) vote: RaftVote,
    pub(crate) last_log_id: Option<RaftLogId>,
    pub(crate) granted: bool,
}

impl CallRequest {
    /// The vote under which it is made.
    pub(crate) fn vote(&self) -> &RaftVote {
        match self {
            CallRequest::Vote(request) | CallRequest::PreVote(request) => &request.vote,
            CallRequest::Transfer(request) => request.from_leader(),
            CallRequest::Leads(vote) => vote,
        }
    }

    pub(crate) fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(64);
        match self {
            CallRequest::Vote(request) => put_vote_request(&mut out, 1, request),
            CallRequest::PreVote(request) => put_vote_request(&mut out, 2, request),
            CallRequest::Transfer(request) => {
                out.put_u8(3);
                put_vote(&mut out, request.from_leader());
                put_log_id(&mut out, request.last_log_id());
                out.put_u64_le(request.to_node_id().0);
            }
            CallRequest::Leads(vote) => {
                out.put_u8(4);
                put_vote(&mut out, vote);
                put_log_id(&mut out, None);
            }
        }
        seal(&mut out);
        out
    }

    pub(crate) fn decode(body: &[u8]) -> Result<CallRequest, WireError> {
        let mut input = checked(body)?;
        let kind = input.try_get_u8()?;
        let vote = take_vote(&mut input)?;
        let last_log_id = take_log_id(&mut input)?;
        let is_of_leader = matches!(kind, 3 | 4);
        if vote.committed != is_of_leader || last_log_id.is_some_and(|last| last.leader_id.term > vote.leader_id.term) {
            return Err(WireError(format!("a call of kind {kind} under {vote} with {last_log_id:?}")));
        }
        match kind {
            1 | 2 => {
                let mut request = VoteRequest::new(vote, last_log_id);
                request.leadership_transfer = take_flag(&mut input)?;
                Ok(if kind == 1 { CallRequest::Vote(request) } else { CallRequest::PreVote(request) })
            }
            3 => {
                let target = NodeId(input.try_get_u64_le()?);
                Ok(CallRequest::Transfer(TransferLeaderRequest::new(vote, target, last_log_id)))
            }
            4 => Ok(CallRequest::Leads(vote)),
            other => Err(WireError(format!("unknown call {other}"))),
        }
    }
}

fn put_vote_request(out: &mut BytesMut, kind: u8, request: &VoteRequest<TypeConfig>) {
    out.put_u8(kind);
    put_vote(out, &request.vote);
    put_log_id(out, request.last_log_id.as_ref());
    out.put_u8(u8::from(request.leadership_transfer));
}

impl CallAnswer {
    pub(crate) fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(64);
        put_vote(&mut out, &self.vote);
        put_log_id(&mut out, self.last_log_id.as_ref());
        out.put_u8(u8::from(self.granted));
        seal(&mut out);
        out
    }

    pub(crate) fn decode(body: &[u8]) -> Result<CallAnswer, WireError> {
        let mut input = checked(body)?;
        let vote = take_vote(&mut input)?;
        let last_log_id = take_log_id(&mut input)?;
        Ok(CallAnswer { vote, last_log_id, granted: take_flag(&mut input)? })
    }
}

impl From<VoteResponse<TypeConfig>> for CallAnswer {
    fn from(response: VoteResponse<TypeConfig>) -> CallAnswer {
        CallAnswer { vote: response.vote, last_log_id: response.last_log_id, granted: response.vote_granted }
    }
}

impl From<CallAnswer> for VoteResponse<TypeConfig> {
    fn from(answer: CallAnswer) -> VoteResponse<TypeConfig> {
        VoteResponse::new(answer.vote, answer.last_log_id, answer.granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::impls::leader_id_std::LeaderId;

    #[test]
    fn calls_and_answers_survive_the_wire() {
        let vote = openraft::Vote { leader_id: LeaderId { term: 4, voted_for: NodeId(2) }, committed: false };
        let leading = openraft::Vote { committed: true, ..vote };
        let last = Some(RaftLogId::new_term_index(3, 10));
        let mut transferring = VoteRequest::new(vote, last);
        transferring.leadership_transfer = true;
        let requests = [
            CallRequest::Vote(transferring),
            CallRequest::PreVote(VoteRequest::new(vote, None)),
            CallRequest::Transfer(TransferLeaderRequest::new(leading, NodeId(3), last)),
            CallRequest::Leads(leading),
        ];
        for request in requests {
            assert_eq!(CallRequest::decode(&request.encode()).unwrap(), request);
        }
        let beyond = Some(RaftLogId::new_term_index(5, 10));
        let nonsense = [
            CallRequest::Vote(VoteRequest::new(leading, last)),
            CallRequest::PreVote(VoteRequest::new(vote, beyond)),
            CallRequest::Transfer(TransferLeaderRequest::new(vote, NodeId(3), last)),
        ];
        for request in nonsense {
            assert!(CallRequest::decode(&request.encode()).is_err(), "{request:?}");
        }
        let answer = CallAnswer { vote, last_log_id: last, granted: true };
        assert_eq!(CallAnswer::decode(&answer.encode()).unwrap(), answer);
    }
}
