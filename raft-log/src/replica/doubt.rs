//! Ends the doubt of a node that may have forgotten what it acknowledged (hazards 10).
//!
//! It is over when the node's disk holds everything that a leader of the present knows as committed. A new leader knows
//! that only once it has committed an entry of its own term; until then the index that it states may be an old one. So may
//! be what was under way to this node before it was opened ([`LeaderWatch::committed`]).

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::metrics::RaftMetrics;

use crate::exec;
use crate::last_run::LastRun;
use crate::raft::network::leader_watch::LeaderWatch;
use crate::raft::type_config::{RaftCore, TypeConfig, log_id};
use crate::raft::vote_gate::{GateReason, VoteGate};
use crate::storage::Log;
use crate::types::{LogId, NodeId};

/// How often the positions are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// A leader that was silent for longer is none of the present.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// What the watch needs of its node.
pub(crate) struct Doubt {
    pub(crate) id: NodeId,
    pub(crate) raft: RaftCore,
    pub(crate) log: Log,
    pub(crate) watch: LeaderWatch,
    pub(crate) gate: VoteGate,
    pub(crate) last_run: Arc<LastRun>,
}

impl Doubt {
    /// Returns when the doubt is over; for the caller to start only if there is one.
    pub(crate) async fn run(self) {
        let target = loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let metrics = self.raft.metrics().borrow_watched().clone();
            if self.is_alone(&metrics) {
                break None;
            }
            if let Some(committed) = self.committed_now(&metrics) {
                break Some(committed);
            }
        };
        while target.is_some_and(|target| !self.holds(target)) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let last_run = self.last_run.clone();
        match exec::blocking(move || last_run.trust()).await.flatten() {
            Ok(()) => self.gate.clear(GateReason::AsyncUnclean),
            // The gate stays closed, as the file says.
            Err(error) => tracing::error!(%error, "the end of the doubt could not be written"),
        }
    }

    /// A group of one voter has nobody who could know more.
    fn is_alone(&self, metrics: &RaftMetrics<TypeConfig>) -> bool {
        let voters: Vec<NodeId> = metrics.membership_config.membership().voter_ids().collect();
        voters == [self.id]
    }

    /// What the leader of this very term has committed, an entry of its own among it.
    fn committed_now(&self, metrics: &RaftMetrics<TypeConfig>) -> Option<LogId> {
        let leader = metrics.current_leader.filter(|leader| *leader != self.id)?;
        let committed = self.watch.committed(leader)?;
        let of_this_term = committed.term.0 == metrics.current_term;
        (of_this_term && self.watch.hears(leader, SILENCE_MAX)).then_some(committed)
    }

    fn holds(&self, target: LogId) -> bool {
        let committed = self.raft.metrics().borrow_watched().local_committed.map(log_id);
        committed >= Some(target) && *self.log.durable().borrow() >= Some(target.index)
    }
}
