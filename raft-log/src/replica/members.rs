//! Who belongs to the group: adding, promoting, demoting, removing, swapping members and changing their addresses, while
//! publishing goes on.
//!
//! ```text
//!   a new node, empty ──add_learner──► learner ──promote──► voter ──demote──► learner ──remove──► no member, for ever
//!                                         └──────── swap(old, new): one change, old leaves as new enters ────────┘
//! ```
//! - A node joins with an empty folder and a node id that was never used, which the membership remembers; it is asked for the incarnation of that folder,
//!   which the membership holds from then on, and claimed for this cluster (hazards 2, 27).
//! - Voters change by joint consensus: both the old and the new majority decide until the change is done. Once begun, it is
//!   ended even if the caller stops waiting, or by a later leader (see [`super::unfinished`]).
//! - Refused beforehand: what would leave the group without a live majority, a second change while one is under way, a
//!   voter that is not caught up, and the removal of the leader by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::type_config::TypeConfigExt;

use crate::membership::{MemberNode, NodeAddresses};
use crate::raft::bootstrap;
use crate::raft::type_config::{RaftMembership, TypeConfig, membership};
use crate::replica::inner::Inner;
use crate::replica::status::{Member, Role, Status};
use crate::replica::{ChangeError, Leader};
use crate::types::{LogIndex, NodeId};

/// A change that is not committed by then is answered as unknown; it goes on.
const COMMIT_DEADLINE: Duration = Duration::from_secs(10);
/// Entries that a node may lack when it becomes a voter. It gets them within moments, and until then it counts for less.
const LAG_MAX: u64 = 1_000;
/// And bytes: a thousand entries may be gigabytes.
const LAG_BYTES_MAX: u64 = 64 << 20;

/// The status shows a change by then, or something newer.
const SHOWN_DEADLINE: Duration = Duration::from_secs(1);

type Changes = ChangeMembers<NodeId, MemberNode>;

impl Inner {
    /// Takes an empty node into the group, without a vote.
    pub(crate) async fn add_learner(&self, node: NodeId, address: String) -> Result<(), ChangeError> {
        let status = self.leading()?;
        let known = self.peers.member(node);
        if self.peers.members().iter().any(|(_, member)| member.retired.contains(&node)) {
            return Err(ChangeError::IdUsedUp(node));
        }
        let joiner = match &known {
            Some(_) => bootstrap::ask_member(&self.peers, node, address).await?,
            None => bootstrap::reserve_joiner(&self.peers, node, address).await?,
        };
        match known {
            None => self.commit(ChangeMembers::AddNodes(BTreeMap::from([(node, joiner)])), true).await,
            // An earlier attempt got through.
            Some(member) if member.incarnation == joiner.incarnation && !is_voter(&status, node) => Ok(()),
            Some(_) => Err(ChangeError::IdInUse(node)),
        }
    }

    /// Gives a learner that is caught up a vote.
    pub(crate) async fn promote(&self, node: NodeId) -> Result<(), ChangeError> {
        let status = self.leading()?;
        if is_voter(&status, node) {
            return Ok(());
        }
        self.check_caught_up(&status, node)?;
        self.check_quorum(&status, &[node], &[])?;
        self.commit(ChangeMembers::AddVoterIds(BTreeSet::from([node])), true).await
    }

    /// Takes a voter's vote; it stays as a learner.
    pub(crate) async fn demote(&self, node: NodeId) -> Result<(), ChangeError> {
        let status = self.leading()?;
        member(&status, node)?;
        if !is_voter(&status, node) {
            return Ok(());
        }
        self.check_leaves(&status, node)?;
        self.check_quorum(&status, &[], &[node])?;
        self.commit(ChangeMembers::RemoveVoters(BTreeSet::from([node])), true).await
    }

    /// Removes a member. Its id is used up.
    pub(crate) async fn remove(&self, node: NodeId) -> Result<(), ChangeError> {
        let status = self.leading()?;
        if member(&status, node).is_err() {
            return Ok(());
        }
        if !is_voter(&status, node) {
            let leaves = ChangeMembers::RemoveNodes(BTreeSet::from([node]));
            return self.commit(ChangeMembers::Batch(vec![leaves, self.retiring(node)?]), true).await;
        }
        self.check_leaves(&status, node)?;
        self.check_quorum(&status, &[], &[node])?;
        let leaves = ChangeMembers::RemoveVoters(BTreeSet::from([node]));
        self.commit(ChangeMembers::Batch(vec![leaves, self.retiring(node)?]), false).await
    }

    /// One change in which the learner `new` gets the vote of `old`, and `old` leaves.
    pub(crate) async fn swap(&self, old: NodeId, new: NodeId) -> Result<(), ChangeError> {
        let status = self.leading()?;
        if member(&status, old).is_err() && is_voter(&status, new) {
            return Ok(());
        }
        member(&status, old)?;
        // The vote of an older copy is taken already (hazards 34).
        let was_taken = self.peers.pasts.sightings.is_known_older_copy(old);
        if !is_voter(&status, old) && !was_taken {
            return Err(ChangeError::NotAVoter(old));
        }
        self.check_leaves(&status, old)?;
        self.check_caught_up(&status, new)?;
        self.check_quorum(&status, &[new], &[old])?;
        let enters = ChangeMembers::AddVoterIds(BTreeSet::from([new]));
        let leaves = match is_voter(&status, old) {
            true => ChangeMembers::RemoveVoters(BTreeSet::from([old])),
            false => ChangeMembers::RemoveNodes(BTreeSet::from([old])),
        };
        self.commit(ChangeMembers::Batch(vec![enters, leaves, self.retiring(old)?]), false).await
    }

    /// Changes where a member can be reached; its folder stays the same.
    pub(crate) async fn set_addresses(&self, node: NodeId, addresses: NodeAddresses) -> Result<(), ChangeError> {
        self.leading()?;
        let known = self.peers.member(node).ok_or(ChangeError::NotAMember(node))?;
        let moved = MemberNode { addresses, ..known };
        self.commit(ChangeMembers::SetNodes(BTreeMap::from([(node, moved)])), true).await
    }

    /// The part of a change that remembers the id of a member which leaves, with those that this one remembers. The leader
    /// keeps them, which stays.
    fn retiring(&self, leaves: NodeId) -> Result<Changes, ChangeError> {
        let own = self.peers.identity.node_id;
        let mut keeper = self.peers.member(own).ok_or(ChangeError::NotAMember(own))?;
        keeper.retired.extend(self.peers.member(leaves).map(|member| member.retired).unwrap_or_default());
        keeper.retired.insert(leaves);
        Ok(ChangeMembers::SetNodes(BTreeMap::from([(own, keeper)])))
    }

    /// The status of a leader between changes.
    fn leading(&self) -> Result<Status, ChangeError> {
        let status = self.status.borrow().clone();
        if status.role != Role::Leader {
            return Err(ChangeError::NotLeader { leader: self.leadership.leader() });
        }
        if self.peers.is_joint() { Err(ChangeError::UnderWay) } else { Ok(status) }
    }

    fn is_live(&self, status: &Status, member: &Member) -> bool {
        member.id == status.node_id || self.leadership.is_live(member)
    }

    /// The group that results must have a majority that is live now, or nothing would ever be stored again.
    fn check_quorum(&self, status: &Status, enter: &[NodeId], leave: &[NodeId]) -> Result<(), ChangeError> {
        let stays = |member: &&Member| (member.voter || enter.contains(&member.id)) && !leave.contains(&member.id);
        let voters: Vec<&Member> = status.members.iter().filter(stays).collect();
        let live = voters.iter().filter(|member| self.is_live(status, member)).count();
        if live * 2 > voters.len() {
            return Ok(());
        }
        Err(ChangeError::QuorumAtRisk { live, voters: voters.len() })
    }

    fn check_leaves(&self, status: &Status, node: NodeId) -> Result<(), ChangeError> {
        if status.node_id == node { Err(ChangeError::Leads(node)) } else { Ok(()) }
    }

    fn check_caught_up(&self, status: &Status, node: NodeId) -> Result<(), ChangeError> {
        let member = member(status, node)?;
        if self.peers.pasts.sightings.is_known_older_copy(node) {
            return Err(ChangeError::OlderCopy(node));
        }
        let last = status.last.map_or(LogIndex(0), |last| last.index);
        let lag = last.0.saturating_sub(member.matched.map_or(0, |matched| matched.0));
        let bytes = self.log.bytes_from(member.matched.map_or(LogIndex(0), LogIndex::next));
        if lag > LAG_MAX || bytes > LAG_BYTES_MAX || !self.is_live(status, member) {
            return Err(ChangeError::Behind { node, lag, bytes, silence: member.last_heard });
        }
        Ok(())
    }

    /// Proposes the change and waits until it is done, both steps of it if voters change.
    async fn commit(&self, changes: Changes, retain: bool) -> Result<(), ChangeError> {
        tracing::info!(%changes, "the group changes");
        let raft = self.raft.clone();
        let committed = spawned(async move { raft.change_membership(changes, retain).await });
        let committed = tokio::time::timeout(COMMIT_DEADLINE, committed).await;
        let unknown = |reason: String| ChangeError::Unknown { reason };
        let committed =
            committed.map_err(|_| unknown(format!("not committed within {COMMIT_DEADLINE:?}; it goes on")))?;
        match committed.ok_or_else(|| unknown("the replica stopped".to_owned()))? {
            Ok(done) => {
                self.await_shown(done.membership.as_ref()).await;
                Ok(())
            }
            Err(RaftError::Fatal(fatal)) => Err(unknown(fatal.to_string())),
            Err(RaftError::APIError(error)) => Err(refused(error)),
        }
    }
}

impl Inner {
    /// The status follows the core within moments; a caller that looks at it next is to find what he asked for.
    async fn await_shown(&self, wanted: Option<&RaftMembership>) {
        let Some(wanted) = wanted.map(membership) else { return };
        let mut watch = self.status.subscribe();
        let shown = watch.wait_for(|status| {
            let shown = status.members.iter().map(|member| (member.id, member.voter, &member.addresses));
            shown.eq(wanted.nodes.iter().map(|(id, node)| (*id, wanted.is_voter(*id), &node.addresses)))
        });
        // Another change may have come since; nobody waits for that.
        let _ = tokio::time::timeout(SHOWN_DEADLINE, shown).await;
    }
}

/// Runs to its end even if nobody waits for it any more.
async fn spawned<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    drop(TypeConfig::spawn(async move { drop(done.send(work.await)) }));
    result.await.ok()
}

fn refused(error: ClientWriteError<TypeConfig>) -> ChangeError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => {
            let leader = forward.leader_id.zip(forward.leader_node);
            ChangeError::NotLeader { leader: leader.map(|(id, node)| Leader { id, addresses: node.addresses }) }
        }
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)) => ChangeError::UnderWay,
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::LearnerNotFound(missing)) => {
            ChangeError::NotAMember(missing.node_id)
        }
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::EmptyMembership(_)) => {
            ChangeError::QuorumAtRisk { live: 0, voters: 0 }
        }
        other => ChangeError::Unknown { reason: other.to_string() },
    }
}

fn member(status: &Status, node: NodeId) -> Result<&Member, ChangeError> {
    status.member(node).ok_or(ChangeError::NotAMember(node))
}

fn is_voter(status: &Status, node: NodeId) -> bool {
    status.member(node).is_some_and(|member| member.voter)
}
