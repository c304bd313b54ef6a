//! Handing leadership over.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::raft::core::RaftCore;
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
            let problem = match choose(&status, to, lag_max, |member| self.is_live(member)) {
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
}

/// Only a live and nearly caught-up voter: writes stop while a transfer lasts (hazards 14).
fn choose(
    status: &Status,
    to: Option<NodeId>,
    lag_max: u64,
    is_live: impl Fn(&Member) -> bool,
) -> Result<NodeId, TransferError> {
    let last = status.last.map_or(LogIndex(0), |last| last.index);
    let others = status.members.iter().filter(|member| member.voter && member.id != status.node_id);
    let fit = |member: &&Member| is_live(member) && member.matched.is_some_and(|matched| matched.0 + lag_max >= last.0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::NodeAddresses;
    use crate::types::{LogId, Term};

    /// The status of node 1, which leads, with these other voters: what each holds, and whether it was heard just now.
    fn leading(last: u64, others: &[(u64, bool)]) -> Status {
        let voter = |id: u64| Member::new(NodeId(id), NodeAddresses::default(), true);
        let other = |(id, (matched, heard)): (u64, &(u64, bool))| Member {
            matched: Some(LogIndex(*matched)),
            last_heard: heard.then_some(Duration::ZERO),
            ..voter(id)
        };
        let members = std::iter::once(voter(1)).chain((2..).zip(others).map(other)).collect();
        let last = Some(LogId { term: Term(1), index: LogIndex(last) });
        Status { role: Role::Leader, last, members, ..Status::unformed(NodeId(1)) }
    }

    fn chosen(status: &Status, to: Option<u64>, lag_max: u64) -> Option<u64> {
        match choose(status, to.map(NodeId), lag_max, |member| member.last_heard.is_some()) {
            Ok(chosen) => Some(chosen.0),
            Err(TransferError::NoCandidate(_)) => None,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_voter_that_lags_too_far_or_is_silent_is_never_chosen() {
        const LAST: u64 = 50_000;
        for lag_max in [LAG_WANTED, LAG_MAX] {
            let bound = LAST - lag_max;
            let behind = leading(LAST, &[(bound - 1, true), (LAST, false)]);
            assert_eq!([None, Some(2), Some(3)].map(|to| chosen(&behind, to, lag_max)), [None; 3]);
            let near = leading(LAST, &[(bound, true), (bound + 1, true), (LAST, false)]);
            assert_eq!([None, Some(2)].map(|to| chosen(&near, to, lag_max)), [Some(3), Some(2)]);
        }
    }

    #[test]
    fn a_learner_however_far_along_is_never_chosen() {
        let mut status = leading(100, &[(100, true), (90, true)]);
        status.members[1].voter = false;
        assert_eq!(chosen(&status, None, LAG_WANTED), Some(3));
        let refused = choose(&status, Some(NodeId(2)), LAG_WANTED, |_| true);
        assert!(matches!(refused, Err(TransferError::NotAVoter(NodeId(2)))), "{refused:?}");
    }
}
