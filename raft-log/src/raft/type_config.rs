//! The types that openraft is instantiated with, and the conversions between its values and ours.
//!
//! Standard Raft leader ids (one leader a term), node ids of our own, opaque commands and responses. Conversions live
//! here so that no other module of the crate spells openraft's generic names.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::impls::leader_id_std::LeaderId;

use crate::membership::{MemberNode, Membership};
use crate::raft::responder::ProposalResponder;
use crate::storage::{HardState, Record, RecordKind};
use crate::types::{LogId, LogIndex, NodeId, Term};

/// A proposed batch. Raft never looks into it; the payload and its CRC travel from the proposer to every disk as they
/// are (hazards 6).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) payload: Bytes,
    pub(crate) payload_crc: u32,
    pub(crate) count: u32,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} messages, {} bytes)", self.count, self.payload.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// openraft's type parameters for this crate. Written out, because its macro cannot name a generic responder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = Command;
    type R = Bytes;
    type NodeId = NodeId;
    type Node = MemberNode;
    type Term = u64;
    type LeaderId = LeaderId<u64, NodeId>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Command, NodeId, MemberNode>;
    type Entry = openraft::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = crate::exec::Runtime;
    type Responder<T>
        = ProposalResponder<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type RaftEntry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type RaftLogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type RaftVote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type RaftMembership = openraft::Membership<NodeId, MemberNode>;
pub(crate) type RaftStoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;

pub(crate) fn raft_log_id(id: LogId) -> RaftLogId {
    RaftLogId::new_term_index(id.term.0, id.index.0)
}

pub(crate) fn log_id(id: RaftLogId) -> LogId {
    LogId { term: Term(id.leader_id.term), index: LogIndex(id.index) }
}

pub(crate) fn raft_vote(state: HardState) -> RaftVote {
    let voted_for = state.voted_for.expect("openraft's votes always name a node, and only those are saved");
    openraft::Vote { leader_id: LeaderId { term: state.term.0, voted_for }, committed: state.committed }
}

pub(crate) fn hard_state(vote: &RaftVote) -> HardState {
    HardState { term: Term(vote.leader_id.term), voted_for: Some(vote.leader_id.voted_for), committed: vote.committed }
}

pub(crate) fn membership(of: &RaftMembership) -> Membership {
    let nodes = of.nodes().map(|(id, node)| (*id, node.clone())).collect();
    Membership { configs: of.get_joint_config().clone(), nodes }
}

/// # Errors
/// When a voter is no member, there is no voter, or the sets of voters are not one or two.
pub(crate) fn raft_membership(of: Membership) -> Result<RaftMembership, String> {
    if !matches!(of.configs.len(), 1 | 2) {
        return Err(format!("{} sets of voters", of.configs.len()));
    }
    let nodes: BTreeMap<NodeId, MemberNode> = of.nodes;
    RaftMembership::new(of.configs, nodes).map_err(|error| error.to_string())
}

/// The entry in the form in which it is stored and sent.
pub(crate) fn record_of(entry: RaftEntry) -> Record {
    let id = log_id(entry.log_id);
    match entry.payload {
        EntryPayload::Blank => Record::new(id, RecordKind::Blank, 0, Bytes::new()),
        EntryPayload::Membership(of) => Record::new(id, RecordKind::Membership, 0, membership(&of).encode()),
        EntryPayload::Normal(command) => Record {
            id,
            kind: RecordKind::Command,
            count: command.count,
            payload: command.payload,
            payload_crc: command.payload_crc,
        },
    }
}

/// The record as openraft's entry.
///
/// # Errors
/// When a membership entry does not decode.
pub(crate) fn entry_of(record: Record) -> Result<RaftEntry, String> {
    let payload = match record.kind {
        RecordKind::Blank => EntryPayload::Blank,
        RecordKind::Command => EntryPayload::Normal(Command {
            payload: record.payload,
            payload_crc: record.payload_crc,
            count: record.count,
        }),
        RecordKind::Membership => {
            let decoded =
                Membership::decode(&record.payload).map_err(|error| format!("entry {}: {error}", record.id))?;
            EntryPayload::Membership(raft_membership(decoded)?)
        }
    };
    Ok(RaftEntry { log_id: raft_log_id(record.id), payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Hazards 6: one that is computed on the way vouches for whatever memory has made of the payload.
    #[test]
    fn the_crc_of_a_command_is_passed_on_as_it_came() {
        let id = LogId { term: Term(3), index: LogIndex(17) };
        let mut record = Record::new(id, RecordKind::Command, 5, Bytes::from_static(b"payload"));
        record.payload_crc ^= 1;
        assert_eq!(record_of(entry_of(record.clone()).unwrap()), record);
    }
}
