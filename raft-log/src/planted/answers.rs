//! What bugs do to the answers of followers: two wrong ways to count them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::raft::{AppendEntriesRequest, StreamAppendResult};

use super::{Bug, is};
use crate::raft::network::peers::Peers;
use crate::raft::type_config::{RaftLogId, TypeConfig, raft_log_id};
use crate::storage::Log;
use crate::types::NodeId;

/// One connection's requests and answers; clones are the same.
#[derive(Clone)]
pub(crate) struct Answers {
    peers: Arc<Peers>,
    target: NodeId,
    log: Log,
    flow: Arc<Mutex<Flow>>,
}

#[derive(Default)]
struct Flow {
    /// The last entry of each request without answer.
    sent: VecDeque<Option<RaftLogId>>,
    /// Answers that were given before they came.
    owed: usize,
}

impl Answers {
    pub(crate) fn new(peers: &Arc<Peers>, target: NodeId, log: &Log) -> Answers {
        Answers { peers: peers.clone(), target, log: log.clone(), flow: Arc::default() }
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is about to be sent.
    pub(crate) fn sending(&self, request: &mut AppendEntriesRequest<TypeConfig>) {
        self.peers.acknowledged.follow(request.vote);
        self.raise(request);
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        self.flow().sent.push_back(last);
    }

    /// The commit index of [`Bug::OlderTermCommitted`].
    pub(crate) fn raise(&self, request: &mut AppendEntriesRequest<TypeConfig>) {
        if !is(Bug::OlderTermCommitted) {
            return;
        }
        let Some(membership) = self.peers.membership() else { return };
        let durable = *self.log.durable().borrow();
        let own = durable.and_then(|index| self.log.id_at(index)).map(raft_log_id);
        let held_by = |voter: &NodeId| match *voter == self.peers.identity.node_id {
            true => own,
            false => self.peers.acknowledged.of(*voter),
        };
        if let [voters] = &membership.configs[..] {
            let mut held: Vec<Option<RaftLogId>> = voters.iter().map(held_by).collect();
            held.sort_unstable();
            // A majority holds what the lowest of the upper half holds.
            let by_majority = held.get((held.len().max(1) - 1) / 2).copied().flatten();
            request.leader_commit = request.leader_commit.max(by_majority);
        }
    }

    /// The answer of [`Bug::LearnerCounted`] to the oldest request without one.
    pub(crate) fn stand_in(&self) -> Option<StreamAppendResult<TypeConfig>> {
        let mut flow = self.flow();
        if !is(Bug::LearnerCounted) {
            return None;
        }
        let last = (*flow.sent.front()?)?;
        let membership = self.peers.membership()?;
        let learner = |node: &NodeId| !membership.is_voter(*node);
        let answered =
            membership.nodes.keys().filter(|node| learner(node)).filter_map(|node| self.peers.acknowledged.of(*node));
        if learner(&self.target) || answered.max() < Some(last) {
            return None;
        }
        flow.sent.pop_front();
        flow.owed += 1;
        Some(Ok(Some(last)))
    }

    /// Whether this answer was given already.
    pub(crate) fn swallows(&self, answer: &StreamAppendResult<TypeConfig>) -> bool {
        if let Ok(Some(matched)) = answer {
            self.peers.acknowledged.note(self.target, *matched);
        }
        let mut flow = self.flow();
        if flow.owed > 0 && answer.is_ok() {
            flow.owed -= 1;
            return true;
        }
        flow.sent.pop_front();
        false
    }
}
