//! What this node states of its data folder's past, and its judgement over the others' (hazards 34).
//!
//! ```text
//!   a folder that is an older copy of itself
//!     is judged     by each peer that has seen a later life of it: refused as a voter, on both ends of each connection
//!     is told       by the refusal, or by the accusation in the peer's next introduction
//!     keeps out     its gate closes for good, and it says of itself what it is, to peers that have seen nothing
//!     follows       once the leader has taken its vote: as a learner, whose answers and votes count for nothing
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use crate::exec;
use crate::openings::{Opening, Openings};
use crate::planted::{self, Bug};
use crate::raft::gate_reason::GateReason;
use crate::raft::sightings::{Judgement, Moment, Past, Sightings};
use crate::raft::vote_gate::VoteGate;
use crate::raft::wire::handshake::Party;
use crate::replica::Health;
use crate::types::NodeId;

/// What another node stated last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) opening: Opening,
    pub(crate) may_forget: bool,
}

/// This folder's own past.
pub(crate) struct OwnPast {
    pub(crate) openings: Arc<Openings>,
    /// Entries before this index were there when it was opened; `None` while the log is not open.
    pub(crate) opened_end: Option<u64>,
    /// What was acknowledged may be forgotten (hazards 10).
    pub(crate) may_forget: bool,
}

/// See the module.
pub(crate) struct Pasts {
    own: OwnPast,
    pub(crate) sightings: Arc<Sightings>,
    health: watch::Sender<Health>,
    gate: VoteGate,
    told: Mutex<BTreeMap<NodeId, Told>>,
}

impl Pasts {
    /// Closes the gate at once if this folder is known to be an older copy of itself.
    pub(crate) fn new(
        own: OwnPast,
        sightings: Arc<Sightings>,
        health: watch::Sender<Health>,
        gate: VoteGate,
        node: NodeId,
    ) -> Pasts {
        let pasts = Pasts { own, sightings, health, gate, told: Mutex::default() };
        if pasts.own.openings.is_older_copy() {
            pasts.keep_out(node, "an earlier run of this node has been told so");
        }
        pasts
    }

    /// What this node states to another.
    pub(crate) fn stated_to(&self, other: NodeId) -> Past {
        let OwnPast { openings, opened_end, may_forget } = &self.own;
        Past {
            lineage: openings.lineage(),
            opened_end: *opened_end,
            may_forget: *may_forget,
            older_copy: openings.is_older_copy() && !planted::is(Bug::OlderCopyTaken),
            accuses: self.sightings.is_known_older_copy(other) && !planted::is(Bug::OlderCopyTaken),
        }
    }

    /// Judges a member by what it states, and was asked for at some moment; takes in what it says of this node. When this
    /// returns, what was seen is on the disk.
    pub(crate) async fn judge(&self, other: Party, past: &Past, asked: Moment, own: NodeId) -> Judgement {
        if planted::is(Bug::OlderCopyTaken) {
            return Judgement::GoesOn;
        }
        if past.accuses {
            self.take_accusation(own, other.node).await;
        }
        let judgement = self.sightings.judge(other.node, other.incarnation, past, asked);
        if let Some(opening) = past.lineage.last()
            && judgement != Judgement::Late
        {
            self.of_others().insert(other.node, Told { opening, may_forget: past.may_forget });
        }
        self.sightings.save().await;
        judgement
    }

    /// What this node stated when it was last spoken to.
    pub(crate) fn told_by(&self, other: NodeId) -> Option<Told> {
        self.of_others().get(&other).copied()
    }

    /// A peer knows a later life of this folder: from now on this node keeps out of elections and says why.
    pub(crate) async fn take_accusation(&self, own: NodeId, by: NodeId) {
        if planted::is(Bug::OlderCopyTaken) || self.own.openings.is_older_copy() {
            return;
        }
        self.keep_out(own, &format!("node {by} has seen a later life of it"));
        let openings = self.own.openings.clone();
        if let Err(error) = exec::blocking(move || openings.mark_older_copy()).await.flatten() {
            tracing::warn!(%error, "that this folder is an older copy of itself could not be noted; a peer will say it again");
        }
    }

    fn keep_out(&self, own: NodeId, cause: &str) {
        self.gate.close(GateReason::OlderCopy);
        let reason = format!(
            "this data folder is an older copy of itself (a snapshot of the machine, or a restored backup): {cause}. It has \
             forgotten votes and entries that others count on, so node {own} neither votes nor leads any more; it follows as a \
             learner once a leader has taken its vote. Replace it: start a node with an empty folder and a fresh id, run \
             \"tercet cluster replace {own} NEW HOST:PORT\", then stop this one and wipe the folder"
        );
        self.health.send_if_modified(|health| {
            let news = matches!(health, Health::Healthy);
            if news {
                tracing::error!(%reason, "this node keeps out of elections for good");
                *health = Health::WipedVoter { reason };
            }
            news
        });
    }

    fn of_others(&self) -> MutexGuard<'_, BTreeMap<NodeId, Told>> {
        self.told.lock().expect("no holder of this lock panics")
    }
}
