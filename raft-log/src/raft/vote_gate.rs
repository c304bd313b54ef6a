//! What keeps a node out of elections while it cannot be trusted with them.
//!
//! ```text
//!   who closes it                       what it stops: leading                     and granting
//!   Damaged       repair, scrub         campaigns: no vote or pre-vote             no
//!   DamagedTail   repair, scrub    ┐    leaves this node;                      ┐   yes: votes and pre-votes of
//!   AsyncUnclean  opening          ├──► taking over: a transfer to this        ├─► others are refused
//!   DiskStalled   the disk watch   │    node is refused                        │
//!   OlderCopy     a peer, for good ┘                                           ┘
//! ```
//! Each cause opens and closes its own reason; a node may do what none of them stops. A gated node goes on following: it
//! appends, acknowledges and applies. What it is not: a way to stop a leader. A leader that is gated hands over, see
//! `replica::step_down`.
//!
//! # Why a node with rot in committed entries may grant votes
//! What makes a vote safe is that the voter says truly how far its log reaches: whoever it lets win has at least its last
//! (term, index), and so, by log matching, every entry that it ever acknowledged (the Raft paper, 5.4.1). That takes the
//! hard state, which is whole (else the node does not run), and the ids of the log up to its end, which stay known when
//! the bytes of an older entry are lost. Its grant passes for exactly those whom it passed for before the rot. Refusing would gain
//! nothing and cost the group: with one bad sector in last week's segments on two of three nodes nobody could be elected
//! at all. It must not lead, because a leader has to send what it cannot read.
//!
//! In the tail, behind what is known to be committed, the rot may be in what the judgement itself stands on: a restart judges
//! the end of the log by what it can read, so such a node answers for its last entry only once it is whole again
//! (hazards 8). After a start nothing is known to be committed beyond what the state has applied, until a leader says more.

use std::collections::BTreeSet;

use openraft::raft::VoteRequest;
use openraft::type_config::TypeConfigExt;
use tokio::sync::watch;

use crate::planted::{self, Bug};
use crate::raft::core::RaftCore;
use crate::raft::gate_reason::GateReason;
use crate::raft::type_config::TypeConfig;
use crate::raft::wire::call::CallAnswer;

/// The reasons that stand now; clones are the same gate.
#[derive(Clone, Debug, Default)]
pub(crate) struct VoteGate {
    reasons: watch::Sender<BTreeSet<GateReason>>,
}

impl VoteGate {
    /// Adds a reason.
    pub(crate) fn close(&self, reason: GateReason) {
        let news = self.reasons.send_if_modified(|reasons| reasons.insert(reason));
        if news {
            tracing::warn!(%reason, "this node keeps out of elections");
            #[cfg(tercet_sim)]
            crate::sim::observe::observe(crate::sim::observe::Deed::Gated(reason, true));
        }
    }

    /// Takes a reason away; the gate opens with the last one.
    pub(crate) fn clear(&self, reason: GateReason) {
        let news = self.reasons.send_if_modified(|reasons| reasons.remove(&reason));
        if news {
            tracing::info!(%reason, "what kept this node out of elections is over");
            #[cfg(tercet_sim)]
            crate::sim::observe::observe(crate::sim::observe::Deed::Gated(reason, false));
        }
    }

    /// Whether this node may campaign, take over leadership and go on leading.
    pub(crate) fn may_lead(&self) -> bool {
        self.reasons.borrow().is_empty() || planted::is(Bug::GatedVotes)
    }

    /// Whether this node may vote for others.
    pub(crate) fn may_grant(&self) -> bool {
        !self.reasons.borrow().iter().any(|reason| reason.stops_granting()) || planted::is(Bug::GatedVotes)
    }

    pub(crate) fn reasons(&self) -> BTreeSet<GateReason> {
        self.reasons.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<BTreeSet<GateReason>> {
        self.reasons.subscribe()
    }

    /// Keeps the timer that starts campaigns in step with the gate, from now on and for the life of this core. A single
    /// voter asks nobody for votes; the timer is what holds it back.
    pub(crate) fn govern(&self, raft: &RaftCore) {
        let (raft, gate) = (raft.clone(), self.clone());
        let mut watch = self.watch();
        watch.mark_unchanged();
        raft.runtime_config().elect(gate.may_lead());
        drop(TypeConfig::spawn(async move {
            while watch.changed().await.is_ok() {
                raft.runtime_config().elect(gate.may_lead());
            }
        }));
    }
}

/// The refusal of a vote or pre-vote by a gated node: what it has voted and holds, and no grant. Its vote stays as it was,
/// so that it does not stand in the way of the others.
pub(crate) async fn refuse(raft: &RaftCore, request: &VoteRequest<TypeConfig>) -> std::io::Result<CallAnswer> {
    tracing::info!(candidate = %request.vote, "a vote is refused: this node keeps out of elections");
    let standing = raft.with_raft_state(|state| (*state.vote_ref(), state.log_ids.last().copied()));
    let (vote, last_log_id) = standing.await.map_err(std::io::Error::other)?;
    Ok(CallAnswer { vote, last_log_id, granted: false })
}
