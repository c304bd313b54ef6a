//! The state never runs ahead of the node's own durable log (hazards 1).

use std::time::Duration;

use crate::support::Group;
use raft_log::types::{LogId, LogIndex, NodeId, Term};
use raft_log::{AppliedPoint, ReplicaOptions};

/// A group in which node 3's state is flushed after every batch and then killed.
async fn with_flushed_state() -> (Group, NodeId) {
    let mut group = Group::closed(3, |_| {});
    for id in group.ids() {
        group.node_mut(id).machine.inside().flush_always = true;
    }
    group.open_all().await;
    group.bootstrap().await;
    for i in 0..5 {
        group.store(format!("{i}")).await;
    }
    let last = group.store("last").await.id.index;
    group.await_all_applied(last).await;
    let id = group.follower().await;
    group.kill(id).await;
    (group, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_state_is_kept_and_only_the_rest_is_applied_again() {
    let (mut group, id) = with_flushed_state().await;
    let flushed = group.node(id).machine.inside().flushed.clone();
    assert!(group.node(id).machine.inside().flushes > 0 && flushed.commands.len() >= 5);
    group.open(id).await.unwrap();
    let last = group.store("more").await.id.index;
    group.await_applied(id, last).await;
    let inside = group.node(id).machine.inside().resets;
    assert_eq!(inside, 0);
    let leader = group.leader().await;
    assert_eq!(group.node(id).machine.commands(), group.node(leader).machine.commands());
}

// Hazards 1: the state says more than the log holds. It is dropped, and everything comes from the log again.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_ahead_of_the_log_is_reset_and_replayed() {
    let (mut group, id) = with_flushed_state().await;
    {
        let node = group.node(id);
        let mut inside = node.machine.inside();
        let ahead = inside.flushed.point.as_ref().unwrap().id.index.0 + 1_000;
        let membership = inside.flushed.point.as_ref().unwrap().membership.clone();
        inside.flushed.point = Some(AppliedPoint { id: LogId { term: Term(9), index: LogIndex(ahead) }, membership });
        inside.flushed.commands.push("lost by the log".into());
    }
    group.open(id).await.unwrap();
    assert_eq!(group.node(id).machine.inside().resets, 1);
    let last = group.store("more").await.id.index;
    group.await_applied(id, last).await;
    let leader = group.leader().await;
    assert_eq!(group.node(id).machine.commands(), group.node(leader).machine.commands());
    group.assert_equal_entries();
}

// The same index under another term is another entry.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_applied_another_entry_at_that_index_is_reset() {
    let (mut group, id) = with_flushed_state().await;
    group.node(id).machine.inside().flushed.point.as_mut().unwrap().id.term = Term(77);
    group.open(id).await.unwrap();
    assert_eq!(group.node(id).machine.inside().resets, 1);
    let last = group.store("more").await.id.index;
    group.await_applied(id, last).await;
}

/// Disks that take no time and a patient lease: what these tests hold up must be the only thing that could cost the leader
/// its place, however busy the machine is.
async fn with_patient_lease() -> Group {
    let patient = |options: &mut ReplicaOptions| {
        (options.election.timeout_min, options.election.timeout_max) = (LEASE - Duration::from_millis(500), LEASE);
    };
    Group::three_on_simulated_disks(patient).await.0
}

const LEASE: Duration = Duration::from_millis(1_500);
/// Longer than lease and campaign together: a blocked core would lose its leadership.
const HELD_UP: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_state_machine_loses_no_heartbeat() {
    let group = with_patient_lease().await;
    group.store("x").await;
    let leader = group.leader().await;
    let term = group.replica(leader).status().term;
    let (release, hold) = std::sync::mpsc::channel();
    group.node(leader).machine.inside().hold = Some(hold);
    // Committed one by one, so that there are many steps to be handed to the state machine.
    let held = propose_while_held_up(group.replica(leader)).await;
    assert_eq!(group.replica(leader).status().term, term);
    drop(release);
    for proposal in held {
        proposal.await.unwrap().unwrap();
    }
}

type Proposals = Vec<tokio::task::JoinHandle<Result<raft_log::Proposed, raft_log::ProposeError>>>;

async fn propose_while_held_up(replica: &raft_log::Replica) -> Proposals {
    const PAUSE: Duration = Duration::from_millis(50);
    let mut proposals = Vec::new();
    for number in 0..HELD_UP.as_millis() / PAUSE.as_millis() {
        let replica = replica.clone();
        proposals.push(tokio::spawn(async move { replica.propose(format!("{number}").into(), 1).await }));
        tokio::time::sleep(PAUSE).await;
    }
    proposals
}

// Hazards 37: a flush that takes seconds delays no answer and no heartbeat, on the leader as on all followers at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_flush_delays_no_answer() {
    let group = with_patient_lease().await;
    group.store("x").await;
    let leader = group.leader().await;
    let term = group.replica(leader).status().term;
    let mut holds = Vec::new();
    for id in group.ids() {
        let (release, hold) = std::sync::mpsc::channel();
        let machine = &group.node(id).machine;
        machine.inside().hold_flush = Some(hold);
        machine.inside().flush_always = true;
        holds.push(release);
    }
    let flushes = group.node(leader).machine.inside().flushes;
    for proposal in propose_while_held_up(group.replica(leader)).await {
        proposal.await.unwrap().unwrap();
    }
    assert_eq!(group.replica(leader).status().term, term);
    assert_eq!(group.node(leader).machine.inside().flushes, flushes, "the flush is still under way");
    let held = group.node(leader).machine.inside().flushed.clone();
    drop(holds);
    let last = group.store("last").await.id.index;
    group.await_all_applied(last).await;
    assert!(held.commands.len() < group.node(leader).machine.commands().len());
}
