//! Handing leadership over.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::raft::type_config::RaftCore;
use crate::replica::options::ElectionOptions;
use crate::replica::status::{Member, Role, Status};
use crate::replica::{Leader, TransferError};
use crate::types::{LogIndex, NodeId};

/// A voter that is silent for longer than this many heartbeats is not live.
const LIVE_HEARTBEATS: u32 = 5;
/// Writes stop from the moment of a transfer until the target leads, and it first persists what it lacks. So a target is
/// waited for that lacks next to nothing ...
const LAG_WANTED: u64 = 64;
/// ... and after a while one is taken that lacks no more than this.
const LAG_MAX: u64 = 10_000;

/// What a transfer needs of a replica; clones are the same.
#[derive(Clone)]
pub(crate) struct Leadership {
    pub(crate) raft: RaftCore,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) standing: watch::Sender<Status>,
    pub(crate) election: ElectionOptions,
}

impl Leadership {
    /// The changes of role, leader and members.
    pub(crate) fn standing(&self) -> watch::Receiver<Status> {
        self.standing.subscribe()
    }

    /// The status now.
    pub(crate) fn now(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The leader that this node follows, unless that is itself.
    pub(crate) fn leader(&self) -> Option<Leader> {
        let status = self.status.borrow();
        let id = status.leader.filter(|leader| *leader != status.node_id)?;
        status.member(id).map(|member| Leader { id, addresses: member.addresses.clone() })
    }

    /// Whether a leader has heard of this member just now.
    pub(crate) fn is_live(&self, member: &Member) -> bool {
        let silence_max = self.election.heartbeat_interval * LIVE_HEARTBEATS;
        member.last_heard.is_some_and(|silence| silence <= silence_max)
    }

    /// Hands leadership to `to` or to the voter that is furthest along, and waits until it leads.
    pub(crate) async fn transfer(&self, to: Option<NodeId>) -> Result<(), TransferError> {
        let target = self.await_candidate(to).await?;
        let stopped = |fatal: openraft::error::Fatal<_>| TransferError::Stopped(fatal.to_string());
        self.raft.trigger().transfer_leader(target).await.map_err(stopped)?;
        // Long enough for the target to persist what it lacks and to win an election.
        let limit = self.election.timeout_max * 2 + Duration::from_millis(500);
        let own = self.status.borrow().node_id;
        let mut watch = self.status.subscribe();
        let moved = watch.wait_for(|status| status.leader.is_some_and(|leader| leader != own));
        // The guard on the status must not live across the await below.
        let moved = tokio::time::timeout(limit, moved).await.map(|status| status.map(|status| status.leader));
        match moved {
            Ok(Ok(leader)) if to.is_none() || leader == to => Ok(()),
            // The target did not campaign in time, and another voter won instead.
            Ok(Ok(_)) => Err(TransferError::NotLeader { leader: self.leader() }),
            Ok(Err(_)) => Err(TransferError::Stopped("its status ended".to_owned())),
            Err(_) => {
                // From the moment of the attempt openraft refuses writes and sends no heartbeats, so that the others elect
                // one of them in any case once they are reached again.
                Err(TransferError::TimedOut(limit))
            }
        }
    }

    /// The node to hand over to. A leader that was elected just now hears of its followers with the first answers, and a
    /// target of a busy leader gets what it lacks; they are given a moment for it.
    async fn await_candidate(&self, to: Option<NodeId>) -> Result<NodeId, TransferError> {
        let deadline = Instant::now() + self.election.timeout_min;
        let mut lag_max = LAG_WANTED;
        let mut watch = self.status.subscribe();
        loop {
            let status = watch.borrow_and_update().clone();
            if status.role != Role::Leader {
                return Err(TransferError::NotLeader { leader: self.leader() });
            }
            let problem = match self.choose(&status, to, lag_max) {
                Err(problem @ TransferError::NoCandidate(_)) => problem,
                decided => return decided,
            };
            if matches!(tokio::time::timeout_at(deadline, watch.changed()).await, Ok(Ok(()))) {
                continue;
            }
            if lag_max == LAG_MAX {
                return Err(problem);
            }
            lag_max = LAG_MAX;
        }
    }

    /// Only a live and nearly caught-up voter: writes stop while a transfer lasts (hazards 14).
    fn choose(&self, status: &Status, to: Option<NodeId>, lag_max: u64) -> Result<NodeId, TransferError> {
        let last = status.last.map_or(LogIndex(0), |last| last.index);
        let others = status.members.iter().filter(|member| member.voter && member.id != status.node_id);
        let fit = |member: &&Member| {
            self.is_live(member) && member.matched.is_some_and(|matched| matched.0 + lag_max >= last.0)
        };
        match to {
            Some(to) => {
                let target = others.clone().find(|member| member.id == to).ok_or(TransferError::NotAVoter(to))?;
                if fit(&target) {
                    Ok(to)
                } else {
                    let reason =
                        format!("node {to} holds {:?} of {last}, heard {:?} ago", target.matched, target.last_heard);
                    Err(TransferError::NoCandidate(reason))
                }
            }
            None => others
                .filter(fit)
                .max_by_key(|member| member.matched)
                .map(|member| member.id)
                .ok_or_else(|| TransferError::NoCandidate("all others are silent or behind".to_owned())),
        }
    }
}
