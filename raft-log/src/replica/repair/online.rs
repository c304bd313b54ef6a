//! Damage that is met while the node runs: repaired in place, while the node keeps out of elections.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::exec;
use crate::membership::MemberNode;
use crate::raft::network::peers::Peers;
use crate::raft::network::ranges::{Fetched, fetch};
use crate::raft::vote_gate::{GateReason, VoteGate};
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

impl OnlineRepair {
    /// Repairs for the life of the core.
    pub(crate) async fn run(self) {
        self.log.damage().attend();
        loop {
            let index = self.log.damage().next().await;
            if self.repair(index).await.is_err() {
                // The log has failed, and the node stops.
                return;
            }
            if self.log.damage().settle(index) {
                self.set_damaged(None);
            }
        }
    }

    /// Repairs what is damaged at or near `index`. Returns when nothing is, or the log has failed.
    async fn repair(&self, index: LogIndex) -> Result<(), ()> {
        loop {
            let log = self.log.clone();
            let lost = match exec::blocking(move || log.lost_near(index)).await.and_then(|result| result) {
                Ok(lost) => lost,
                Err(error) => {
                    self.set_damaged(Some(format!("the log cannot be read near index {index}: {error}")));
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            let Some(lost) = lost.into_iter().next() else { return Ok(()) };
            let what = describe(&lost);
            tracing::error!(damage = %what, "a damaged range is repaired from the peers");
            // A leader first tries: for it to step down costs every client a moment, and it serves nothing damaged.
            if self.status.borrow().role != Role::Leader {
                self.set_damaged(Some(what.clone()));
            }
            match fetch(&self.peers, &self.members(), &lost.lost).await {
                Fetched::Records(records) => self.write(lost, &records, &what).await?,
                Fetched::NotHeld => self.wait(&what, "no other member holds it").await,
                Fetched::Unreached(reason) => self.wait(&what, &reason).await,
            }
        }
    }

    async fn wait(&self, what: &str, reason: &str) {
        self.set_damaged(Some(format!("{what}; not repaired yet: {reason}")));
        tokio::time::sleep(AGAIN).await;
    }

    async fn write(&self, lost: OpenLost, records: &[Record], what: &str) -> Result<(), ()> {
        let (done, written) = oneshot::channel();
        let done = Box::new(move |result| drop(done.send(result)));
        #[cfg(tercet_sim)]
        let range = (lost.lost.hole.first, lost.lost.hole.end);
        if let Err(error) = self.log.refill(lost, records, done) {
            self.wait(what, &error.to_string()).await;
            return if self.log.failure().borrow().is_some() { Err(()) } else { Ok(()) };
        }
        match written.await {
            Ok(Ok(())) => {
                #[cfg(tercet_sim)]
                crate::sim::observe::observe(crate::sim::observe::Deed::Repaired(range.0, range.1));
                tracing::warn!(damage = %what, "a damaged range is repaired");
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }

    fn members(&self) -> Vec<(NodeId, MemberNode)> {
        let newest = self.peers.members();
        if newest.is_empty() { self.members.clone() } else { newest }
    }

    /// Closes or opens the vote gate, and says in the status why.
    fn set_damaged(&self, reason: Option<String>) {
        match &reason {
            Some(_) => self.gate.close(GateReason::Damaged),
            None => self.gate.clear(GateReason::Damaged),
        }
        self.health.send_if_modified(|health| {
            let next = match (&*health, reason) {
                (Health::Healthy | Health::Damaged { .. }, Some(reason)) => Health::Damaged { reason },
                (Health::Damaged { .. }, None) => Health::Healthy,
                _ => return false,
            };
            let news = *health != next;
            *health = next;
            news
        });
    }
}

fn describe(lost: &OpenLost) -> String {
    let hole = &lost.lost.hole;
    let last = hole.end.0.saturating_sub(1);
    format!(
        "{} is damaged at offset {}, entries {} to {last}: {}",
        lost.file.display(),
        hole.offset,
        hole.first,
        hole.bad
    )
}
