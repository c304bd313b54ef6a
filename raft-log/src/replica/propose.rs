//! Proposals and their three outcomes: stored, not stored, unknown (hazards 15).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::ReadPolicy;
use openraft::error::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::raft::ClientWriteResult;
use openraft::raft::linearizable_read::Linearizer;

use crate::planted::{self, Bug};
use crate::raft::core::RaftCore;
use crate::raft::network::confirmations::Superseded;
use crate::raft::network::peers::Peers;
use crate::raft::responder::ProposalResponder;
use crate::raft::type_config::{Command, TypeConfig, log_id};
use crate::replica::inner::Inner;
use crate::replica::{Leader, ProposeError};
use crate::types::{LogId, LogIndex, NodeId};

/// What a proposal counts beside its payload, so that tiny ones are bounded as well.
pub(crate) const PROPOSAL_OVERHEAD_BYTES: usize = 1024;

/// A stored proposal: where it stands and what the state machine answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// The entry's term and index.
    pub id: LogId,
    /// The state machine's response.
    pub response: Bytes,
}

fn unknown(reason: impl ToString) -> ProposeError {
    ProposeError::Unknown { reason: reason.to_string() }
}

impl Inner {
    pub(crate) async fn propose(&self, payload: Bytes, count: u32) -> Result<Proposed, ProposeError> {
        let (bytes, bytes_max) = (payload.len(), self.options.entry_bytes_max);
        if bytes > bytes_max {
            return Err(ProposeError::TooLarge { bytes, bytes_max });
        }
        // A leader that must not lead any longer takes no more while it looks for another.
        if !self.gate.may_lead() {
            return Err(ProposeError::NotLeader { leader: self.leadership.leader() });
        }
        if count > 0
            && let nodes @ [_, ..] = &self.full_members()[..]
        {
            return Err(ProposeError::DiskFull { nodes: nodes.to_vec() });
        }
        let in_flight_bytes_max = self.options.propose_bytes_in_flight_max;
        // What the followers stored is decided, but this node's own disk may owe it for long: that is memory too.
        let unwritten_bytes = usize::try_from(self.log.unwritten_bytes()).unwrap_or(usize::MAX);
        if unwritten_bytes > in_flight_bytes_max.saturating_sub(bytes) {
            return Err(ProposeError::Overloaded { in_flight_bytes_max });
        }
        let share = (bytes + PROPOSAL_OVERHEAD_BYTES).min(in_flight_bytes_max);
        let share = u32::try_from(share).expect("the bound was checked when the replica was opened");
        let permit = self
            .bytes_in_flight
            .clone()
            .try_acquire_many_owned(share)
            .map_err(|_| ProposeError::Overloaded { in_flight_bytes_max })?;
        let (responder, outcome) = ProposalResponder::new(Some(permit));
        let command = Command { payload_crc: crc32c::crc32c(&payload), payload, count };
        let Command { payload, payload_crc, count } = &command;
        let again = planted::is(Bug::UnknownRepeated).then(|| Command {
            payload: payload.clone(),
            payload_crc: *payload_crc,
            count: *count,
        });
        let decided = async {
            self.raft.client_write_ff(command, Some(responder)).await.map_err(unknown)?;
            outcome.await.map_err(|_| unknown("the core stopped before it decided"))
        };
        let decided = tokio::time::timeout(self.options.propose_deadline, decided).await;
        if let Some(command) = again.filter(|_| decided.is_err()) {
            let (responder, outcome) = ProposalResponder::new(None);
            self.raft.client_write_ff(command, Some(responder)).await.map_err(unknown)?;
            return self.proposed(outcome.await.map_err(|_| unknown("the core stopped before it decided"))?);
        }
        if decided.is_err() && planted::is(Bug::TimeoutAsRefused) {
            return Err(ProposeError::Overloaded { in_flight_bytes_max });
        }
        let outcome = decided.unwrap_or_else(|_| Err(unknown("the deadline passed before it was committed")))?;
        self.proposed(outcome)
    }

    /// The members because of which publishes are refused now.
    pub(crate) fn full_members(&self) -> Vec<NodeId> {
        if self.peers.rooms.all_have_room() {
            return Vec::new();
        }
        let voters =
            self.status.borrow().members.iter().filter(|member| member.voter).map(|member| member.id).collect();
        self.peers.rooms.in_the_way(&voters)
    }

    fn proposed(&self, outcome: ClientWriteResult<TypeConfig>) -> Result<Proposed, ProposeError> {
        match outcome {
            Ok(stored) => Ok(Proposed { id: log_id(stored.log_id), response: stored.data }),
            Err(ClientWriteError::ForwardToLeader(forward)) => Err(not_leader(forward)),
            // The entry was appended here and overwritten by another leader's; yet another node may hold it still.
            Err(ClientWriteError::LogEntryDiscarded(_)) if planted::is(Bug::DiscardedAsRefused) => {
                Err(ProposeError::NotLeader { leader: None })
            }
            Err(ClientWriteError::LogEntryDiscarded(_)) => Err(unknown("leadership was lost before it was committed")),
            Err(other @ (ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_))) => {
                Err(unknown(other))
            }
        }
    }

    /// One confirmation serves all callers that came before it (see [`crate::replica::read_point`]); each of them then
    /// waits until the state has applied what the confirmation covers.
    pub(crate) async fn read_index(&self) -> Result<LogIndex, ProposeError> {
        let deadline = self.options.propose_deadline;
        if planted::is(Bug::UnconfirmedRead) && self.status.borrow().serving {
            return self.status.borrow().committed.map(|id| id.index).ok_or_else(|| unknown("nothing is committed"));
        }
        let confirmed = confirm_leadership(self.raft.clone(), self.peers.clone(), deadline);
        let confirmed = self.read_points.join(confirmed);
        let ready = async {
            let confirmed = confirmed.await?;
            let index = LogIndex(confirmed.read_log_id().log_id().index);
            // openraft counts as applied what it has handed over.
            if planted::is(Bug::ReadBeforeApplied) {
                confirmed.await_ready(&self.raft).await.map_err(unknown)?;
            } else {
                self.applied.reached(index).await;
            }
            Ok(index)
        };
        let ready = tokio::time::timeout(deadline, ready).await;
        ready.map_err(|_| unknown("the deadline passed before a majority answered and it was applied"))?
    }
}

/// Asks a majority whether this node still leads; what was acknowledged before is then covered by the answer.
///
/// openraft asks, and says which entry the read must have seen. Its word that a majority has answered is not enough: it
/// may count an answer to what was sent before (see [`confirmations`](crate::raft::network::confirmations)).
async fn confirm_leadership(
    raft: RaftCore,
    peers: Arc<Peers>,
    deadline: Duration,
) -> Result<Linearizer<TypeConfig>, ProposeError> {
    let confirmed = async {
        let began = peers.confirmations.begin();
        let vote = raft.with_raft_state(|state| *state.vote_ref()).await.map_err(unknown)?;
        let linearizer = match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => linearizer,
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                return Err(not_leader(forward));
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(missing))) => return Err(unknown(missing)),
            Err(RaftError::Fatal(fatal)) => return Err(unknown(fatal)),
        };
        if planted::is(Bug::AnswerForLater) {
            return Ok(linearizer);
        }
        let configs =
            raft.with_raft_state(|state| state.membership_state.effective().membership().get_joint_config().clone());
        let (configs, own) = (configs.await.map_err(unknown)?, peers.identity.node_id);
        match peers.confirmations.confirmed(began, vote, own, &configs).await {
            Ok(()) => Ok(linearizer),
            Err(Superseded) => Err(ProposeError::NotLeader { leader: None }),
        }
    };
    let confirmed = tokio::time::timeout(deadline, confirmed).await;
    confirmed.unwrap_or_else(|_| Err(unknown("the deadline passed before a majority answered")))
}

fn not_leader(forward: ForwardToLeader<TypeConfig>) -> ProposeError {
    let leader = forward.leader_id.zip(forward.leader_node);
    ProposeError::NotLeader { leader: leader.map(|(id, node)| Leader { id, addresses: node.addresses }) }
}
