//! Whether this node can do its work: it has a leader, and has applied what it knows to be committed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use raft_log::{Health, Role, Status, types::LogId};
use tokio::sync::watch;

use crate::{http, state::StateReader};

/// Entries that a busy node may be behind and still count as caught up.
const LAG_MAX: u64 = 1024;

/// Answers `/readyz`.
pub(super) struct Readiness {
    status: watch::Receiver<Status>,
    state: StateReader,
    stopping: AtomicBool,
}

impl Readiness {
    pub(super) fn new(status: watch::Receiver<Status>, state: StateReader) -> Readiness {
        Readiness { status, state, stopping: AtomicBool::new(false) }
    }

    /// From now on not ready, so that nobody sends new work here.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn probe(self: Arc<Self>) -> http::Readiness {
        Arc::new(move || {
            if self.stopping.load(Ordering::Relaxed) {
                return Err("stopping".to_owned());
            }
            check(&self.status.borrow(), self.state.cluster().is_some())
        })
    }
}

fn check(status: &Status, seeded: bool) -> Result<(), String> {
    match &status.health {
        // It serves what is whole, and repairs the rest.
        Health::Healthy | Health::Damaged { .. } => {}
        Health::WipedVoter { reason } | Health::Failed { reason } => return Err(reason.clone()),
    }
    if status.cluster.is_none() {
        return Err("belongs to no group yet; a new group is made by `tercetd bootstrap`".to_owned());
    }
    let Some(leader) = status.leader else { return Err("has no leader".to_owned()) };
    if status.role == Role::Leader && !status.serving {
        return Err("leads, and is still applying what was committed before".to_owned());
    }
    let index = |id: Option<LogId>| id.map_or(0, |id| id.index.0);
    let lag = index(status.committed).saturating_sub(index(status.applied));
    if lag > LAG_MAX {
        return Err(format!("has yet to apply {lag} committed entries"));
    }
    if !seeded {
        return Err(format!("has not yet applied the group's first settings, which node {leader} proposes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use raft_log::types::{ClusterId, LogIndex, NodeId, Term};

    use super::*;

    fn follower() -> Status {
        let id = |index| Some(LogId { term: Term(2), index: LogIndex(index) });
        Status {
            node_id: NodeId(1),
            cluster: Some(ClusterId(5)),
            role: Role::Follower,
            term: Term(2),
            leader: Some(NodeId(2)),
            last: id(5000),
            committed: id(5000),
            applied: id(5000),
            purged: None,
            checkpoint: None,
            durable: Some(LogIndex(5000)),
            members: Vec::new(),
            serving: false,
            gate: Default::default(),
            room: Default::default(),
            health: Health::Healthy,
        }
    }

    #[test]
    fn a_follower_that_is_caught_up_is_ready() {
        assert_eq!(check(&follower(), true), Ok(()));
    }

    #[test]
    fn what_is_missing_is_told() {
        let lagging = Some(LogId { term: Term(2), index: LogIndex(3000) });
        let wiped = Health::WipedVoter { reason: "wiped".to_owned() };
        for (status, seeded, told) in [
            (Status { cluster: None, ..follower() }, true, "belongs to no group"),
            (Status { leader: None, ..follower() }, true, "has no leader"),
            (Status { applied: lagging, ..follower() }, true, "2000 committed entries"),
            (Status { role: Role::Leader, ..follower() }, true, "still applying"),
            (Status { health: wiped, ..follower() }, true, "wiped"),
            (follower(), false, "first settings, which node 2 proposes"),
        ] {
            let why = check(&status, seeded).unwrap_err();
            assert!(why.contains(told), "{why}");
        }
    }
}
