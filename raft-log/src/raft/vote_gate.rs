//! What keeps a node out of elections while it cannot be trusted with them.
//!
//! ```text
//!   who closes it                       what a closed gate stops
//!   Damaged       repair, scrub    ┐    campaigns                  no vote or pre-vote leaves this node
//!   AsyncUnclean  opening          ├──► grants                     votes and pre-votes of others are refused
//!   DiskStalled   the disk watch   ┘    taking over leadership     a transfer to this node is refused
//! ```
//! Each cause opens and closes its own reason; the gate is open while there is none. A gated node goes on following: it
//! appends, acknowledges and applies. What it is not: a way to stop a leader. A leader that is gated hands over, see
//! `replica::step_down`.

use std::collections::BTreeSet;
use std::fmt;

use openraft::raft::VoteRequest;
use openraft::type_config::TypeConfigExt;
use tokio::sync::watch;

use crate::raft::type_config::{RaftCore, TypeConfig};
use crate::raft::wire::call::CallAnswer;

/// Why a node neither campaigns nor grants votes nor takes over leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateReason {
    /// Part of its log is damaged and not repaired yet (hazards 8).
    Damaged,
    /// It keeps its log in `async` durability, and the machine stopped without a clean end: it may have forgotten what
    /// it acknowledged, and waits until it holds what the leader has committed (hazards 10).
    AsyncUnclean,
    /// Its disk has not finished a write for longer than the limit.
    DiskStalled,
}

impl GateReason {
    /// The name used in status output and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            GateReason::Damaged => "damaged",
            GateReason::AsyncUnclean => "async-unclean",
            GateReason::DiskStalled => "disk-stalled",
        }
    }
}

impl fmt::Display for GateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

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
        }
    }

    /// Takes a reason away; the gate opens with the last one.
    pub(crate) fn clear(&self, reason: GateReason) {
        let news = self.reasons.send_if_modified(|reasons| reasons.remove(&reason));
        if news {
            tracing::info!(%reason, "what kept this node out of elections is over");
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.reasons.borrow().is_empty()
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
        let raft = raft.clone();
        let mut watch = self.watch();
        raft.runtime_config().elect(watch.borrow_and_update().is_empty());
        drop(TypeConfig::spawn(async move {
            while watch.changed().await.is_ok() {
                raft.runtime_config().elect(watch.borrow_and_update().is_empty());
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
