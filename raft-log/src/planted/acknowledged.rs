//! What the followers of a node hold, for bugs that count it wrongly.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::raft::type_config::{RaftLogId, RaftVote};
use crate::types::NodeId;

/// What the followers of this node hold, as they said under its present vote.
#[derive(Default)]
pub(crate) struct Acknowledged {
    inside: Mutex<(Option<RaftVote>, BTreeMap<NodeId, RaftLogId>)>,
}

impl Acknowledged {
    fn inside(&self) -> MutexGuard<'_, (Option<RaftVote>, BTreeMap<NodeId, RaftLogId>)> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn follow(&self, vote: RaftVote) {
        let mut inside = self.inside();
        if inside.0 != Some(vote) {
            *inside = (Some(vote), BTreeMap::new());
        }
    }

    pub(super) fn note(&self, node: NodeId, matched: RaftLogId) {
        let mut inside = self.inside();
        let known = inside.1.entry(node).or_insert(matched);
        *known = (*known).max(matched);
    }

    pub(super) fn of(&self, node: NodeId) -> Option<RaftLogId> {
        self.inside().1.get(&node).copied()
    }
}
