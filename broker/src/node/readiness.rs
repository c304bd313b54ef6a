//! Whether this node can do its work: it has a leader, has applied again what it held when it started, and what it knows
//! to be committed.

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
    /// The last entry of the log when it was opened.
    opened_with: u64,
    re_applied: AtomicBool,
    stopping: AtomicBool,
}

impl Readiness {
    pub(super) fn new(status: watch::Receiver<Status>, state: StateReader) -> Readiness {
        let opened_with = index(status.borrow().last);
        Readiness { status, state, opened_with, re_applied: AtomicBool::new(false), stopping: AtomicBool::new(false) }
    }

    /// From now on not ready, so that nobody sends new work here.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether there is a replica at all; answers `/healthz`. A process that says yes without one would be left alone, and
    /// count for nothing in its group.
    pub(super) fn life(self: Arc<Self>) -> http::Probe {
        Arc::new(move || {
            if self.stopping.load(Ordering::Relaxed) {
                return Ok(());
            }
            if self.status.has_changed().is_err() {
                return Err("the replica has ended".to_owned());
            }
            match &self.status.borrow().health {
                Health::Failed { reason } => Err(reason.clone()),
                Health::Healthy | Health::Damaged { .. } | Health::WipedVoter { .. } => Ok(()),
            }
        })
    }

    pub(super) fn probe(self: Arc<Self>) -> http::Probe {
        Arc::new(move || {
            if self.stopping.load(Ordering::Relaxed) {
                return Err("stopping".to_owned());
            }
            if self.status.has_changed().is_err() {
                return Err("the replica has ended".to_owned());
            }
            let status = self.status.borrow();
            if !self.re_applied.load(Ordering::Relaxed) {
                check_re_applied(&status, self.opened_with)?;
            }
            check(&status, self.state.cluster().is_some())?;
            // From now on it lags as any busy node may.
            self.re_applied.store(true, Ordering::Relaxed);
            Ok(())
        })
    }
}

fn index(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index.0)
}

/// A state that stands where it was last flushed answers from the past, however few entries it lacks.
fn check_re_applied(status: &Status, opened_with: u64) -> Result<(), String> {
    // What a new leader does not hold goes from the log.
    let until = opened_with.min(index(status.last));
    match until.saturating_sub(index(status.applied)) {
        0 => Ok(()),
        lag => Err(format!("has yet to apply {lag} entries of its log again")),
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
    use raft_log::{
        ApplyEntry, ApplyKind, StateMachine as _,
        types::{ClusterId, GroupId, LogIndex, NodeId, Term, UnixMillis},
    };

    use super::*;
    use crate::state::{BatchBuilder, Bootstrap, Level, State};

    fn follower() -> Status {
        let id = |index| Some(LogId { term: Term(2), index: LogIndex(index) });
        Status {
            cluster: Some(ClusterId(5)),
            role: Role::Follower,
            term: Term(2),
            leader: Some(NodeId(2)),
            last: id(5000),
            committed: id(5000),
            applied: id(5000),
            durable: Some(LogIndex(5000)),
            ..Status::unformed(NodeId(1))
        }
    }

    #[test]
    fn without_a_replica_a_node_is_neither_alive_nor_ready() {
        let dir = tempfile::tempdir().unwrap();
        let state = crate::state::State::open(&dir.path().join("state")).unwrap();
        let (sender, status) = watch::channel(follower());
        let readiness = Arc::new(Readiness::new(status, state.reader()));
        let (life, ready) = (readiness.clone().life(), readiness.probe());
        assert_eq!(life(), Ok(()));
        sender.send_replace(Status { health: Health::Failed { reason: "broken".to_owned() }, ..follower() });
        assert_eq!((life(), ready()), (Err("broken".to_owned()), Err("broken".to_owned())));
        drop(sender);
        let ended = Err("the replica has ended".to_owned());
        assert_eq!((life(), ready()), (ended.clone(), ended));
    }

    #[test]
    fn a_follower_that_is_caught_up_is_ready() {
        assert_eq!(check(&follower(), true), Ok(()));
    }

    #[test]
    fn a_log_that_is_not_applied_again_is_not_ready_until_it_is_or_is_cut() {
        let lagging = Status { applied: Some(LogId { term: Term(2), index: LogIndex(4999) }), ..follower() };
        assert_eq!(check(&lagging, true), Ok(()), "a busy node may lag");
        assert!(check_re_applied(&lagging, 5000).unwrap_err().contains("1 entries"));
        assert_eq!(check_re_applied(&follower(), 5000), Ok(()));
        let cut = Status { last: lagging.applied, ..lagging };
        assert_eq!(check_re_applied(&cut, 5000), Ok(()));
    }

    /// A state that holds its group's first settings.
    fn seeded(dir: &std::path::Path) -> State {
        let mut state = State::open(&dir.join("state")).unwrap();
        let mut batch = BatchBuilder::new();
        batch.push(
            &Bootstrap { cluster: ClusterId(5), group: GroupId(1), level: Level::NEWEST, handle_key: [0; 32] }.encode(),
        );
        let id = LogId { term: Term(1), index: LogIndex(0) };
        state.apply(vec![ApplyEntry { id, kind: ApplyKind::Command(batch.build(UnixMillis(1))) }]).unwrap();
        state
    }

    /// hazards 22: what it held when it started is not the past any more once it is ready.
    #[test]
    fn a_node_is_ready_once_its_log_is_applied_again_and_may_lag_from_then_on() {
        let dir = tempfile::tempdir().unwrap();
        let lagging = Status { applied: Some(LogId { term: Term(2), index: LogIndex(4999) }), ..follower() };
        let (sender, status) = watch::channel(lagging.clone());
        let ready = Arc::new(Readiness::new(status, seeded(dir.path()).reader())).probe();
        assert_eq!(ready(), Err("has yet to apply 1 entries of its log again".to_owned()));
        sender.send_replace(follower());
        assert_eq!(ready(), Ok(()));
        sender.send_replace(lagging);
        assert_eq!(ready(), Ok(()), "as any busy node");
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
