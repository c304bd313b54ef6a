//! Ends the doubt of a node that may have forgotten what it acknowledged (hazards 10).
//!
//! It is over when the node's disk holds everything that a leader of the present knows as committed. A new leader knows
//! that only once it has committed an entry of its own term; until then the index that it states may be an old one. So may
//! be what was under way to this node before it was opened ([`LeaderWatch::committed`]).

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;

use crate::exec;
use crate::last_run::LastRun;
use crate::raft::core::RaftCore;
use crate::raft::gate_reason::GateReason;
use crate::raft::network::leader_watch::LeaderWatch;
use crate::raft::type_config::log_id;
use crate::raft::vote_gate::VoteGate;
use crate::storage::Log;
use crate::types::{LogId, LogIndex, NodeId, Term};

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

/// What is seen at one look.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// A group of one voter has nobody who could know more.
    is_alone: bool,
    term: Term,
    /// What a leader that is heard states as committed.
    stated: Option<LogId>,
    /// What this node knows as committed.
    committed: Option<LogId>,
    /// What its disk holds.
    durable: Option<LogIndex>,
}

/// What the disk must hold, once it is known.
#[derive(Debug, Default)]
struct Wait {
    target: Option<LogId>,
}

impl Wait {
    /// Whether the doubt is over.
    fn is_over(&mut self, look: Look) -> bool {
        if self.target.is_none() {
            if look.is_alone {
                return true;
            }
            self.target = look.stated.filter(|stated| stated.term == look.term);
        }
        self.target.is_some_and(|target| look.committed >= Some(target) && look.durable >= Some(target.index))
    }
}

impl Doubt {
    /// Returns when the doubt is over; for the caller to start only if there is one.
    pub(crate) async fn run(self) {
        let mut wait = Wait::default();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if wait.is_over(self.look()) {
                break;
            }
        }
        let last_run = self.last_run.clone();
        match exec::blocking(move || last_run.trust()).await.flatten() {
            Ok(()) => self.gate.clear(GateReason::AsyncUnclean),
            // The gate stays closed, as the file says.
            Err(error) => tracing::error!(%error, "the end of the doubt could not be written"),
        }
    }

    fn look(&self) -> Look {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let leader = metrics.current_leader.filter(|leader| *leader != self.id);
        let heard = leader.filter(|leader| self.watch.hears(*leader, SILENCE_MAX));
        Look {
            is_alone: metrics.membership_config.membership().voter_ids().eq([self.id]),
            term: Term(metrics.current_term),
            stated: heard.and_then(|leader| self.watch.committed(leader)),
            committed: metrics.local_committed.map(log_id),
            durable: *self.log.durable().borrow(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId { term: Term(term), index: LogIndex(index) }
    }

    /// A look at a node of term 4 that holds and knows as committed what lies up to this index.
    fn look(stated: Option<LogId>, held: u64) -> Look {
        let (committed, durable) = (Some(id(2, held)), Some(LogIndex(held)));
        Look { is_alone: false, term: Term(4), stated, committed, durable }
    }

    #[test]
    fn the_doubt_lasts_until_the_disk_holds_what_a_leader_of_this_term_has_committed() {
        let mut wait = Wait::default();
        assert!(!wait.is_over(look(None, 9)), "no leader");
        assert!(!wait.is_over(look(Some(id(3, 5)), 9)), "an entry of an older term may be an old index");
        let reached = |committed, durable| Look { committed, durable, ..look(Some(id(4, 11)), 0) };
        let (behind, there) = (Some(id(4, 10)), Some(id(4, 11)));
        assert!(!wait.is_over(reached(behind, behind.map(|id| id.index))));
        assert!(!wait.is_over(reached(there, behind.map(|id| id.index))), "in memory");
        assert!(!wait.is_over(reached(behind, there.map(|id| id.index))), "another entry may lie there");
        let later = Look { stated: Some(id(4, 20)), ..reached(there, there.map(|id| id.index)) };
        assert!(wait.is_over(later), "what was committed later this node has not acknowledged before");
    }

    #[test]
    fn a_group_of_one_voter_has_nobody_to_wait_for() {
        assert!(Wait::default().is_over(Look { is_alone: true, ..look(None, 0) }));
    }
}
