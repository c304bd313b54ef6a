//! Takes the vote of members whose data folder is an older copy of itself (hazards 34).
//!
//! Such a member is refused while it votes: what it acknowledges might count with a promise that it has forgotten. Without a
//! vote it harms nobody, so the leader makes it a learner: it catches up and serves again, and the quorum is that of the
//! others, which alone made it before as well. It never gets the vote back; the operator replaces it.
//!
//! To know one, the others must have seen what came after it. Followers have no business with each other while there is a
//! leader, so each node meets all others once after it was opened.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;

use crate::raft::network::greeting::GreetError;
use crate::raft::network::peers::{ConnectError, Peers};
use crate::raft::wire::handshake::Purpose;
use crate::replica::leadership::Leadership;
use crate::replica::status::{Role, Status};
use crate::types::NodeId;

/// How often is looked for such members.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A change that is not made by then is looked at again.
const COMMIT_DEADLINE: Duration = Duration::from_secs(10);
/// How often it is written how far the others are known to hold the log, if that has changed.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);
/// How often a member is tried that was not met yet.
const MEET_INTERVAL: Duration = Duration::from_secs(2);

/// Takes votes, meets the others, and has what is remembered of them written from time to time, for the life of the core.
pub(crate) async fn run(leadership: Leadership, peers: Arc<Peers>) {
    tokio::join!(take_votes(leadership, peers.clone()), meet(peers.clone()), keep(peers));
}

/// Introduces this opening of the folder to each other member, and hears of theirs.
async fn meet(peers: Arc<Peers>) {
    let mut met = BTreeSet::from([peers.identity.node_id]);
    loop {
        for (id, member) in peers.members() {
            if !met.contains(&id) && !is_away(&peers.connect(id, &member, Purpose::Call).await) {
                met.insert(id);
            }
        }
        tokio::time::sleep(MEET_INTERVAL).await;
    }
}

/// Whether a member was not there; who refuses this node is.
fn is_away<T>(connected: &Result<T, ConnectError>) -> bool {
    matches!(connected, Err(ConnectError::Io { .. } | ConnectError::Greet { source: GreetError::Version, .. }))
}

async fn take_votes(leadership: Leadership, peers: Arc<Peers>) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let older_copies = peers.pasts.sightings.older_copies();
        if older_copies.is_empty() || peers.is_joint() {
            continue;
        }
        let status = leadership.status.borrow().clone();
        let Some(leaving) = loses_its_vote(&status, &older_copies, |member| leadership.is_live(member)) else {
            continue;
        };
        tracing::warn!(peer = %leaving, "the vote of a member is taken: its data folder is an older copy of itself");
        let change = ChangeMembers::RemoveVoters(BTreeSet::from([leaving]));
        let changing = leadership.raft.change_membership(change, true);
        match tokio::time::timeout(COMMIT_DEADLINE, changing).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(peer = %leaving, %error, "its vote could not be taken yet"),
            Err(_) => tracing::warn!(peer = %leaving, "whether its vote is taken is not known yet"),
        }
    }
}

/// The member whose vote is taken next: an older copy, while the others have a majority with and without it.
fn loses_its_vote(
    status: &Status,
    older_copies: &[NodeId],
    is_live: impl Fn(&crate::replica::Member) -> bool,
) -> Option<NodeId> {
    if status.role != Role::Leader {
        return None;
    }
    let voters = || status.members.iter().filter(|member| member.voter);
    let leaving = voters().find(|member| older_copies.contains(&member.id) && member.id != status.node_id)?;
    let good = voters().filter(|member| !older_copies.contains(&member.id));
    let live = good.filter(|member| member.id == status.node_id || is_live(member)).count();
    (live * 2 > voters().count()).then_some(leaving.id)
}

async fn keep(peers: Arc<Peers>) {
    loop {
        tokio::time::sleep(SAVE_INTERVAL).await;
        let members: Vec<NodeId> = peers.members().into_iter().map(|(id, _)| id).collect();
        peers.pasts.sightings.save_all(&members).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::NodeAddresses;
    use crate::replica::Member;
    use crate::types::Term;

    /// The status of node 1 in a group of these voters.
    fn status_with(role: Role, voters: &[u64]) -> Status {
        let member = |id: &u64| Member::new(NodeId(*id), NodeAddresses::default(), true);
        let members = voters.iter().map(member).collect();
        Status { role, term: Term(1), members, serving: true, ..Status::unformed(NodeId(1)) }
    }

    #[test]
    fn a_vote_is_taken_only_while_the_others_are_a_majority_with_and_without_it() {
        let older = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let leader = status_with(Role::Leader, &[1, 2, 3]);
        assert_eq!(loses_its_vote(&leader, &older(&[3]), |_| true), Some(NodeId(3)));
        assert_eq!(loses_its_vote(&leader, &older(&[3]), |_| false), None, "node 2 is silent");
        assert_eq!(loses_its_vote(&leader, &older(&[1]), |_| true), None, "a leader does not judge itself");
        assert_eq!(loses_its_vote(&leader, &older(&[9]), |_| true), None);
        assert_eq!(loses_its_vote(&leader, &older(&[2, 3]), |_| true), None, "one of three is no majority");
        assert_eq!(loses_its_vote(&status_with(Role::Leader, &[1, 2]), &older(&[2]), |_| true), None);
        assert_eq!(loses_its_vote(&status_with(Role::Follower, &[1, 2, 3]), &older(&[3]), |_| true), None);
    }
}
