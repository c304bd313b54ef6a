//! Members come, go and move while entries are stored (hazards 2, 28), and what would break the group is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::Group;
use raft_log::types::NodeId;
use raft_log::{BootstrapError, ChangeError, NodeAddresses, PeerSecret, Replica, Role, Status};

const NEW: NodeId = NodeId(4);

/// Nodes 1 to 3 as a group with an entry, and node 4 open and empty.
async fn three_and_a_new_one() -> Group {
    let mut group = Group::closed(4, |_| {});
    group.open_all().await;
    let voters = group.voters().into_iter().filter(|(id, _)| *id != NEW).collect();
    group.replica(NodeId(1)).bootstrap(voters).await.expect("three empty nodes form a group");
    group.store("first").await;
    group
}

fn address(group: &Group, id: NodeId) -> String {
    group.node(id).advertised.clone()
}

/// Stores entries at this replica until it is told to stop; a refusal for want of leadership ends it as well.
fn storing(replica: &Replica) -> (Arc<AtomicBool>, tokio::task::JoinHandle<usize>) {
    let (stop, replica) = (Arc::new(AtomicBool::new(false)), replica.clone());
    let stopped = stop.clone();
    let task = tokio::spawn(async move {
        let mut stored = 0;
        while !stopped.load(Ordering::Relaxed) {
            replica.propose(vec![7; 1000].into(), 1).await.expect("publishing goes on");
            stored += 1;
        }
        stored
    });
    (stop, task)
}

/// Waits until the leader knows that a learner has nearly all.
pub(crate) async fn caught_up(group: &Group, leader: NodeId, id: NodeId) {
    let near = move |status: &Status| {
        let matched = status.member(id).and_then(|member| member.matched);
        matched.zip(status.last).is_some_and(|(matched, last)| matched.0 + 100 >= last.index.0)
    };
    group.await_status(leader, "a learner's catching up", near).await;
}

// A node is replaced by one with an empty folder and a fresh id, and nobody who publishes notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_replaced_by_a_new_one_while_publishing() {
    let mut group = three_and_a_new_one().await;
    let (leader, old) = (group.leader().await, group.node(NodeId(1)).id);
    let old = if old == leader { NodeId(2) } else { old };
    let at = group.replica(leader).clone();
    let (stop, task) = storing(&at);

    at.add_learner(NEW, address(&group, NEW)).await.unwrap();
    at.add_learner(NEW, address(&group, NEW)).await.expect("repeating it is fine");
    group.await_status(NEW, "learning", |status| status.role == Role::Learner && status.leader.is_some()).await;
    caught_up(&group, leader, NEW).await;
    at.swap(old, NEW).await.unwrap();
    at.swap(old, NEW).await.expect("repeating it is fine");
    stop.store(true, Ordering::Relaxed);
    assert!(task.await.unwrap() > 0);

    let voters: Vec<NodeId> = at.status().members.iter().filter(|m| m.voter).map(|member| member.id).collect();
    assert_eq!(voters.len(), 3);
    assert!(voters.contains(&NEW) && !voters.contains(&old));
    group.kill(old).await;
    // Its vote counts: with another one gone the new one is half of the majority.
    let third = voters.iter().copied().find(|id| *id != NEW && *id != leader).unwrap();
    group.kill(third).await;
    let last = group.store("by the leader and the new one").await.id.index;
    group.await_all_applied(last).await;
    group.assert_equal_entries();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_is_demoted_and_removed_and_a_learner_promoted() {
    let group = three_and_a_new_one().await;
    let (leader, follower) = (group.leader().await, group.follower().await);
    let at = group.replica(leader);
    at.add_learner(NEW, address(&group, NEW)).await.unwrap();
    caught_up(&group, leader, NEW).await;
    at.promote(NEW).await.unwrap();
    group.await_status(NEW, "voting", |status| status.role == Role::Follower).await;
    assert_eq!(at.status().members.iter().filter(|member| member.voter).count(), 4);
    at.demote(follower).await.unwrap();
    group.await_status(follower, "learning", |status| status.role == Role::Learner).await;
    let last = group.store("a learner gets it").await.id.index;
    group.await_applied(follower, last).await;
    at.remove(follower).await.unwrap();
    group.await_status(leader, "three members", |status| status.members.len() == 3).await;
    assert!(at.status().member(follower).is_none());
    let again = at.add_learner(follower, address(&group, follower)).await;
    assert_eq!(again, Err(ChangeError::IdUsedUp(follower)), "an id is used once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_break_the_group_is_refused() {
    let mut group = three_and_a_new_one().await;
    let (leader, follower) = (group.leader().await, group.follower().await);
    let heard = |status: &Status| status.members.iter().filter(|member| member.last_heard.is_some()).count() == 2;
    group.await_status(leader, "hearing all", heard).await;
    let at = group.replica(leader);

    let elsewhere = group.replica(follower).add_learner(NEW, address(&group, NEW)).await;
    assert!(matches!(elsewhere, Err(ChangeError::NotLeader { .. })), "{elsewhere:?}");
    let itself = at.remove(leader).await;
    assert_eq!(itself, Err(ChangeError::Leads(leader)));
    let known = at.add_learner(follower, address(&group, NEW)).await;
    assert!(matches!(known, Err(ChangeError::Joiner(BootstrapError::WrongPeer { .. }))), "{known:?}");
    let voter = at.add_learner(follower, address(&group, follower)).await;
    assert_eq!(voter, Err(ChangeError::IdInUse(follower)));
    let stranger = at.promote(NEW).await;
    assert_eq!(stranger, Err(ChangeError::NotAMember(NEW)));
    let fresh_id = NodeId(9);
    let used = at.add_learner(fresh_id, address(&group, follower)).await;
    assert!(matches!(used, Err(ChangeError::Joiner(BootstrapError::WrongPeer { .. }))), "{used:?}");

    // One of three is dead: without the other one, or with a new voter that is silent, nothing would be stored.
    let dead = group.ids().into_iter().find(|id| ![leader, follower, NEW].contains(id)).unwrap();
    group.kill(dead).await;
    let gone = move |status: &Status| {
        let silence = status.member(dead).and_then(|member| member.last_heard);
        silence.is_some_and(|silence| silence.as_secs() >= 1)
    };
    group.await_status(leader, "missing one", gone).await;
    let at = group.replica(leader);
    let risky = at.remove(follower).await;
    assert_eq!(risky, Err(ChangeError::QuorumAtRisk { live: 1, voters: 2 }));
    at.remove(dead).await.expect("the dead one is the one to remove");
    group.store("two of two").await;
}

// Hazards 2: a node that has been in a group, this or another, never joins as if it were new. It says so to those who hold its
// secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_a_history_does_not_join() {
    let mut group = Group::closed(4, |options| {
        options.peer_secret = Some(PeerSecret::parse(&"a1".repeat(32)).unwrap());
    });
    group.open_all().await;
    let voters = group.voters().into_iter().filter(|(id, _)| *id != NEW).collect();
    group.replica(NodeId(1)).bootstrap(voters).await.unwrap();
    group.store("first").await;
    group.replica(NEW).bootstrap(vec![(NEW, address(&group, NEW))]).await.unwrap();
    group.await_status(NEW, "leading its own group", |status| status.serving).await;
    let leader = [1, 2, 3].map(NodeId).into_iter().find(|id| group.replica(*id).status().serving).unwrap();
    let refused = group.replica(leader).add_learner(NEW, address(&group, NEW)).await;
    let not_empty =
        matches!(refused, Err(ChangeError::Joiner(BootstrapError::NotEmpty { node: NEW, cluster: Some(_) })));
    assert!(not_empty, "{refused:?}");
    group.kill(NEW).await;
}

// Hazards 28: a member moves to another address; its folder stays the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_moves_to_another_address() {
    let mut group = Group::three().await;
    group.store("before").await;
    let (leader, moving) = (group.leader().await, group.follower().await);
    group.kill(moving).await;
    let listen = crate::support::listener().local_addr().unwrap();
    group.node_mut(moving).listen = listen;
    group.node_mut(moving).advertised = listen.to_string();
    group.open(moving).await.unwrap();
    let last = group.store("it cannot be reached for this").await.id.index;
    let known = group.replica(leader).status().member(moving).unwrap().addresses.clone();
    let addresses = NodeAddresses { peer: listen.to_string(), ..known };
    group.replica(leader).set_addresses(moving, addresses).await.unwrap();
    group.await_applied(moving, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_where_it_advertises_does_not_join() {
    let mut group = three_and_a_new_one().await;
    let right = address(&group, NEW);
    group.kill(NEW).await;
    group.node_mut(NEW).advertised = crate::support::listener().local_addr().unwrap().to_string();
    group.open(NEW).await.unwrap();
    let leader = group.leader().await;
    let refused = group.replica(leader).add_learner(NEW, right.clone()).await.unwrap_err();
    assert!(matches!(refused, ChangeError::Joiner(BootstrapError::Advertised { node: NEW, .. })), "{refused}");

    group.kill(NEW).await;
    group.node_mut(NEW).advertised = right.clone();
    group.open(NEW).await.unwrap();
    group.replica(leader).add_learner(NEW, right).await.unwrap();
    let last = group.store("x").await.id.index;
    group.await_applied(NEW, last).await;
}
