//! Damage that is met while the node runs: repaired in place, while the node keeps out of elections.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::exec;
use crate::membership::MemberNode;
use crate::raft::gate_reason::GateReason;
use crate::raft::network::peers::Peers;
use crate::raft::network::ranges::{Fetched, fetch};
use crate::raft::vote_gate::VoteGate;
use crate::replica::status::{Health, Role, Status};
use crate::storage::repair::OpenLost;
use crate::storage::{Log, Record};
use crate::types::{LogIndex, NodeId};

/// Pause before the peers are asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Attends to what readers and the scrub report.
pub(crate) struct OnlineRepair {
    pub(crate) log: Log,
    pub(crate) peers: Arc<Peers>,
    /// Whom to ask before the core runs.
    pub(crate) members: Vec<(NodeId, MemberNode)>,
    pub(crate) gate: VoteGate,
    pub(crate) health: watch::Sender<Health>,
    pub(crate) status: watch::Sender<Status>,
}

/// How an attempt to repair what is near a reported index ended.
enum Attempt {
    /// Nothing near it is damaged any more.
    Whole,
    /// It must be tried again; the gate is closed meanwhile.
    Waits,
    /// The log has failed, and the node stops.
    LogFailed,
}

impl OnlineRepair {
    /// Repairs for the life of the core. The call itself attends to the reports, before the future is polled: the core may
    /// meet damage, and give up on it, before a task that was spawned ahead of it has its first turn.
    pub(crate) fn run(self) -> impl Future<Output = ()> + Send + 'static {
        self.log.damage().attend();
        self.repair_reported()
    }

    /// What cannot be repaired now waits its turn while the others have theirs.
    async fn repair_reported(self) {
        let (mut waiting, mut in_tail) = (None, BTreeSet::new());
        loop {
            let index = self.log.damage().next(waiting).await;
            if waiting.is_some_and(|waiting| index <= waiting) {
                tokio::time::sleep(AGAIN).await;
            }
            match self.attempt(index, &mut in_tail).await {
                Attempt::Whole => {
                    waiting = None;
                    in_tail.remove(&index);
                    if in_tail.is_empty() {
                        self.gate.clear(GateReason::DamagedTail);
                    }
                    if self.log.damage().settle(index) {
                        self.set_healthy();
                    }
                }
                Attempt::Waits => waiting = Some(index),
                Attempt::LogFailed => return,
            }
        }
    }

    /// Repairs what is damaged at or near `index`, as far as it can be now.
    async fn attempt(&self, index: LogIndex, in_tail: &mut BTreeSet<LogIndex>) -> Attempt {
        loop {
            let log = self.log.clone();
            let lost = match exec::blocking(move || log.lost_near(index)).await.and_then(|result| result) {
                Ok(lost) => lost,
                Err(error) => {
                    self.keep_out(index, index, in_tail);
                    self.set_damaged(format!("the log cannot be read near index {index}: {error}"));
                    return Attempt::Waits;
                }
            };
            let Some(lost) = lost.into_iter().next() else { return Attempt::Whole };
            let what = describe(&lost);
            let last_lost = last_of(&lost);
            tracing::error!(damage = %what, "a damaged range is repaired from the peers");
            // A leader first tries: for it to step down costs every client a moment, and it serves nothing damaged.
            if self.status.borrow().role != Role::Leader {
                self.keep_out(index, last_lost, in_tail);
                self.set_damaged(what.clone());
            }
            let hindrance = match fetch(&self.peers, &self.members(), &lost.lost).await {
                Fetched::Records(records) => match self.write(lost, &records, &what).await {
                    Ok(()) => continue,
                    Err(_) if self.log.failure().borrow().is_some() => return Attempt::LogFailed,
                    Err(reason) => reason,
                },
                Fetched::NotHeld => "no other member holds it".to_owned(),
                Fetched::Unreached(reason) => reason,
            };
            self.keep_out(index, last_lost, in_tail);
            self.set_damaged(format!("{what}; not repaired yet: {hindrance}"));
            return Attempt::Waits;
        }
    }

    /// Writes what the peers gave.
    ///
    /// # Errors
    /// Why it was not written; the log may have failed.
    async fn write(&self, lost: OpenLost, records: &[Record], what: &str) -> Result<(), String> {
        let (done, written) = oneshot::channel();
        let done = Box::new(move |result| drop(done.send(result)));
        #[cfg(tercet_sim)]
        let range = (lost.lost.hole.first, lost.lost.hole.end);
        self.log.refill(lost, records, done).map_err(|error| error.to_string())?;
        match written.await {
            Ok(Ok(())) => {
                #[cfg(tercet_sim)]
                crate::sim::observe::observe(crate::sim::observe::Deed::Repaired(range.0, range.1));
                tracing::warn!(damage = %what, "a damaged range is repaired");
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the log's I/O thread stopped".to_owned()),
        }
    }

    fn members(&self) -> Vec<(NodeId, MemberNode)> {
        let newest = self.peers.members();
        if newest.is_empty() { self.members.clone() } else { newest }
    }

    /// Closes the vote gate: for leading in any case, for granting only while what is lost may be uncommitted (see the
    /// gate). `index` is what was reported, `last_lost` the last entry that is lost there.
    fn keep_out(&self, index: LogIndex, last_lost: LogIndex, in_tail: &mut BTreeSet<LogIndex>) {
        self.gate.close(GateReason::Damaged);
        let known_committed = {
            let status = self.status.borrow();
            status.committed.max(status.applied).map(|id| id.index)
        };
        if known_committed < Some(last_lost) {
            in_tail.insert(index);
            self.gate.close(GateReason::DamagedTail);
        } else if in_tail.remove(&index) && in_tail.is_empty() {
            self.gate.clear(GateReason::DamagedTail);
        }
    }

    /// Nothing is damaged any more.
    fn set_healthy(&self) {
        self.gate.clear(GateReason::Damaged);
        self.set_health(Health::Healthy);
    }

    /// Says in the status what is damaged.
    fn set_damaged(&self, reason: String) {
        self.set_health(Health::Damaged { reason });
    }

    fn set_health(&self, next: Health) {
        self.health.send_if_modified(|health| {
            let of_the_log = matches!(health, Health::Healthy | Health::Damaged { .. });
            let news = of_the_log && *health != next;
            if news {
                *health = next;
            }
            news
        });
    }
}

/// The last entry that is lost; where only marks are, the one before them.
fn last_of(lost: &OpenLost) -> LogIndex {
    LogIndex(lost.lost.hole.end.0.saturating_sub(1))
}

fn describe(lost: &OpenLost) -> String {
    let hole = &lost.lost.hole;
    let last = last_of(lost);
    format!(
        "{} is damaged at offset {}, entries {} to {last}: {}",
        lost.file.display(),
        hole.offset,
        hole.first,
        hole.bad
    )
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::env::sim::SimEnv;
    use crate::identity::Identity;
    use crate::raft::network::peers::tests::alone;
    use crate::replica::repair::rig::{GROUP, NODE, OpenLog, dir, options};
    use crate::replica::status_task::StatusTask;
    use crate::types::{LogId, Term};

    /// The repair of a node without a core.
    fn repair() -> OnlineRepair {
        let sim = SimEnv::new(1);
        let log = OpenLog::open(&sim, options(8 << 10)).unwrap().log;
        let identity = Arc::new(Identity::open(&sim.env(), dir(), NODE, GROUP, true).unwrap());
        let (gate, health) = (VoteGate::default(), watch::Sender::new(Health::Healthy));
        let status = watch::Sender::new(StatusTask::initial(&identity, &log, &gate));
        let peers = Arc::new(alone(&sim, dir(), identity, &gate, &health));
        OnlineRepair { log, peers, members: Vec::new(), gate, health, status }
    }

    #[test]
    fn reports_are_attended_to_before_the_repair_has_its_first_turn() {
        let repair = repair();
        let log = repair.log.clone();
        let _not_polled = repair.run();
        log.damage().report(LogIndex(7));
        assert_eq!(log.damage().next(None).now_or_never(), Some(LogIndex(7)));
    }

    // Hazards 8: a restart would judge the end of the log by what it can read of it.
    #[test]
    fn damage_behind_what_is_known_as_committed_keeps_from_voting_and_other_damage_only_from_leading() {
        let repair = repair();
        let commit = |index| {
            let id = LogId { term: Term(1), index: LogIndex(index) };
            repair.status.send_modify(|status| status.committed = Some(id));
        };
        let mut in_tail = BTreeSet::new();
        let both = BTreeSet::from([GateReason::Damaged, GateReason::DamagedTail]);
        repair.keep_out(LogIndex(5), LogIndex(6), &mut in_tail);
        assert_eq!(repair.gate.reasons(), both, "nothing is known as committed");
        commit(5);
        repair.keep_out(LogIndex(5), LogIndex(6), &mut in_tail);
        assert_eq!(repair.gate.reasons(), both, "the last entry that is lost is not");
        commit(6);
        repair.keep_out(LogIndex(5), LogIndex(6), &mut in_tail);
        assert_eq!(repair.gate.reasons(), BTreeSet::from([GateReason::Damaged]));
    }
}
