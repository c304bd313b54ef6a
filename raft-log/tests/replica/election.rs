//! Elections: who may campaign, and who may not (hazards 12; raft.md, settings).

use std::time::Duration;

use crate::support::Group;
use crate::support::gate::Gate;
use raft_log::Role;
use raft_log::types::NodeId;

/// Three nodes, each behind a gate of its own.
async fn gated() -> (Group, Vec<Gate>) {
    let mut group = Group::closed(3, |_| {});
    let mut gates = Vec::new();
    for id in group.ids() {
        let gate = Gate::before(group.node(id).listen).await;
        group.node_mut(id).advertised = gate.address.to_string();
        gates.push(gate);
    }
    group.open_all().await;
    group.bootstrap().await;
    (group, gates)
}

fn gate_of(gates: &[Gate], id: NodeId) -> &Gate {
    &gates[usize::try_from(id.0).expect("three nodes") - 1]
}

// Without pre-vote, or with one that is not implemented, the node that heard nothing would raise its term and depose
// the leader as soon as it is heard.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_deaf_does_not_depose_the_leader() {
    let (group, gates) = gated().await;
    group.store("before").await;
    let (leader, deaf) = (group.leader().await, group.follower().await);
    let term = group.replica(leader).status().term;
    gate_of(&gates, deaf).shut();
    group.await_status(deaf, "missing its leader", |status| status.leader.is_none()).await;
    // Several campaigns of the deaf node, which the others hear and refuse.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(group.replica(deaf).status().term, term, "a pre-vote raises no term");
    gate_of(&gates, deaf).open();
    let last = group.store("after").await.id.index;
    group.await_applied(deaf, last).await;
    assert_eq!((group.leader().await, group.replica(leader).status().term), (leader, term));
}

// Leader restore is off: a leader that restarts at once must be elected again, in a new term. In the old one it could
// give a log id to a second entry.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_leader_does_not_lead_in_its_old_term() {
    let mut group = Group::three().await;
    group.store("x").await;
    let old = group.leader().await;
    let term = group.replica(old).status().term;
    group.kill(old).await;
    group.open(old).await.unwrap();
    let early = group.replica(old).status();
    assert!(early.role != Role::Leader || early.term > term, "{early:?}");
    let stored = group.store("y").await.id;
    assert!(stored.term > term);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_to_a_silent_voter_is_refused_and_the_leader_goes_on() {
    let mut group = Group::three().await;
    group.store("x").await;
    let (leader, silent) = (group.leader().await, group.follower().await);
    let heard = move |status: &raft_log::Status| status.member(silent).unwrap().last_heard.is_some();
    group.await_status(leader, "hearing all", heard).await;
    group.kill(silent).await;
    let gone = move |status: &raft_log::Status| {
        status.member(silent).unwrap().last_heard.is_some_and(|silence| silence > Duration::from_secs(1))
    };
    group.await_status(leader, "missing one", gone).await;
    let refused = group.replica(leader).transfer_leadership(Some(silent)).await.unwrap_err();
    assert!(matches!(refused, raft_log::TransferError::NoCandidate(_)), "{refused}");
    let stranger = group.replica(leader).transfer_leadership(Some(NodeId(9))).await.unwrap_err();
    assert!(matches!(stranger, raft_log::TransferError::NotAVoter(NodeId(9))));
    assert!(group.replica(leader).propose("y".into(), 1).await.is_ok());
}

// Hazards 12: a dead process is noticed by its closed connections. The lease here is longer than the test's patience, so
// that only this can elect another.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_replaced_long_before_the_lease_ends() {
    let patient = |options: &mut raft_log::ReplicaOptions| {
        options.election.timeout_min = crate::support::PATIENCE * 2;
        options.election.timeout_max = crate::support::PATIENCE * 3;
    };
    let mut group = Group::three_with(patient).await;
    group.store("before").await;
    let old = group.leader().await;
    group.kill(old).await;
    let stored = group.store("after").await.id;
    assert_ne!(group.leader().await, old);
    group.open(old).await.unwrap();
    group.await_all_applied(stored.index).await;
    group.assert_equal_entries();
}
