//! What bugs do to the answers of followers: nothing, outside of the simulation.

use openraft::raft::{AppendEntriesRequest, StreamAppendResult};

use crate::raft::network::peers::Peers;
use crate::raft::type_config::TypeConfig;
use crate::storage::Log;
use crate::types::NodeId;

#[derive(Clone)]
pub(crate) struct Answers;

#[expect(clippy::unused_self, reason = "the simulation's form uses it")]
impl Answers {
    pub(crate) const fn new(_peers: &std::sync::Arc<Peers>, _target: NodeId, _log: &Log) -> Answers {
        Answers
    }

    pub(crate) const fn sending(&self, _request: &mut AppendEntriesRequest<TypeConfig>) {}

    pub(crate) const fn raise(&self, _request: &mut AppendEntriesRequest<TypeConfig>) {}

    pub(crate) const fn stand_in(&self) -> Option<StreamAppendResult<TypeConfig>> {
        None
    }

    pub(crate) const fn swallows(&self, _answer: &StreamAppendResult<TypeConfig>) -> bool {
        false
    }
}
