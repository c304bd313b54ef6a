//! Stored, not stored, unknown: never one for the other (hazards 15).

use std::time::Duration;

use crate::support::Group;
use bytes::Bytes;
use raft_log::env::sim::{Fault, FaultKind, SimEnv};
use raft_log::types::NodeId;
use raft_log::{Health, ProposeError, ReplicaOptions, Role};

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_names_the_leader_and_stores_nothing() {
    let group = Group::three().await;
    let (leader, follower) = (group.leader().await, group.follower().await);
    group.await_status(follower, "following", move |status| status.leader == Some(leader)).await;
    let refused = group.replica(follower).propose("x".into(), 1).await.unwrap_err();
    match &refused {
        ProposeError::NotLeader { leader: Some(named) } => {
            let client = &group.node(leader).advertised_client;
            assert_eq!((named.id, &named.addresses.client), (leader, client));
        }
        other => panic!("{other:?}"),
    }
    assert!(refused.surely_not_stored() && refused.retry_can_help());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_cluster_knows_no_leader() {
    let mut group = Group::closed(1, |_| {});
    group.open_all().await;
    let refused = group.replica(group.ids()[0]).propose("x".into(), 1).await.unwrap_err();
    assert_eq!(refused, ProposeError::NotLeader { leader: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_payload_is_refused_and_the_largest_passes() {
    let group = Group::three().await;
    let leader = group.replica(group.leader().await);
    let refused = leader.propose(Bytes::from(vec![0; (1 << 20) + 1]), 1).await.unwrap_err();
    assert!(matches!(refused, ProposeError::TooLarge { .. }) && !refused.retry_can_help());
    let stored = leader.propose(Bytes::from(vec![0; 1 << 20]), 1).await.unwrap();
    group.await_all_applied(stored.id.index).await;
}

fn short_deadline(options: &mut ReplicaOptions) {
    options.propose_deadline = Duration::from_millis(300);
    options.entry_bytes_max = 10_000;
    options.propose_bytes_in_flight_max = 30_000;
}

/// A leader without followers: its proposals get no answer from the group.
async fn cut_off_leader() -> (Group, NodeId) {
    let mut group = Group::three_with(short_deadline).await;
    group.store("x").await;
    let leader = group.leader().await;
    for id in group.ids() {
        if id != leader {
            group.kill(id).await;
        }
    }
    (group, leader)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_off_leader_answers_unknown_at_the_deadline() {
    let (mut group, leader) = cut_off_leader().await;
    let outcome = group.replica(leader).propose("perhaps".into(), 1).await.unwrap_err();
    assert!(matches!(outcome, ProposeError::Unknown { .. }), "{outcome:?}");
    assert!(!outcome.surely_not_stored());
    // Perhaps indeed: with the others back, the entry may be committed after all. Either way all agree.
    for id in group.ids() {
        if id != leader {
            group.open(id).await.unwrap();
        }
    }
    let last = group.store("after").await.id.index;
    group.await_all_applied(last).await;
    group.assert_equal_entries();
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_in_flight_are_bounded_until_the_core_has_decided() {
    let (group, leader) = cut_off_leader().await;
    let replica = group.replica(leader);
    let payload = Bytes::from(vec![1; 9_000]);
    let outcomes = futures::future::join_all((0..4).map(|_| replica.propose(payload.clone(), 1))).await;
    let count = |wanted: fn(&ProposeError) -> bool| {
        outcomes.iter().flat_map(|o| o.as_ref().err()).filter(|e| wanted(e)).count()
    };
    // 10,024 bytes count for each with its overhead; the third would be above the bound of 30,000.
    assert_eq!(count(|e| matches!(e, ProposeError::Overloaded { .. })), 2, "{outcomes:?}");
    assert_eq!(count(|e| matches!(e, ProposeError::Unknown { .. })), 2, "{outcomes:?}");
    // Their callers are gone, the entries are not: the core still holds the bytes.
    let still = replica.propose(payload, 1).await.unwrap_err();
    assert!(matches!(still, ProposeError::Overloaded { .. }), "{still:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_state_machine_stops_the_node_with_its_reason() {
    let group = Group::three_with(|options| options.propose_deadline = Duration::from_secs(2)).await;
    group.store("x").await;
    let leader = group.leader().await;
    group.node(leader).machine.inside().fail_next = true;
    let outcome = group.replica(leader).propose("y".into(), 1).await.unwrap_err();
    assert!(matches!(outcome, ProposeError::Unknown { .. }), "{outcome:?}");
    let failed = |status: &raft_log::Status| matches!(&status.health, Health::Failed { .. });
    let status = group.await_status(leader, "stopping", failed).await;
    assert_eq!(status.role, Role::Stopped);
    assert!(group.replica(leader).failed().unwrap().contains("told to fail"));
    // The others elect a leader and go on.
    let others = group.ids().into_iter().filter(|id| *id != leader);
    for id in others {
        group.await_status(id, "a new leader", |status| status.leader.is_some_and(|new| new != leader)).await;
    }
}

// A sync that failed once says nothing about what it was to make durable: the node stops, and the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_stops_the_node_with_its_reason() {
    let machines = [1, 2, 3].map(SimEnv::new);
    let mut group = Group::three_in(machines.each_ref().map(SimEnv::env), |_| {}).await;
    group.store("before").await;
    let leader = group.leader().await;
    let disk = &machines[usize::try_from(leader.0).unwrap() - 1].disk;
    disk.order(Fault::once(FaultKind::Sync, ".seg"));
    let stored = group.store("after").await;
    let failed = |status: &raft_log::Status| matches!(&status.health, Health::Failed { .. });
    let status = group.await_status(leader, "stopping", failed).await;
    assert_eq!((status.role, disk.fault_hits()), (Role::Stopped, 1));
    assert!(group.replica(leader).failed().unwrap().contains(".seg"), "{:?}", group.replica(leader).failed());
    // It comes back from what its disk holds, and agrees.
    group.kill(leader).await;
    group.open(leader).await.unwrap();
    group.await_applied(leader, stored.id.index).await;
    group.assert_equal_entries();
}

// A leader that is cut off from the majority says so: whoever watches it turns to another, and what is proposed to it is
// refused at once instead of unknown after the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hears_no_majority_stops_serving_and_takes_nothing() {
    let (group, leader) = cut_off_leader().await;
    let status = group.await_status(leader, "ceasing to serve", |status| !status.serving).await;
    assert_eq!(status.role, Role::Leader, "it was not replaced, it heard nobody");
    let refused = group.replica(leader).propose("x".into(), 1).await.unwrap_err();
    assert_eq!(refused, ProposeError::NotLeader { leader: None });
    assert!(refused.surely_not_stored());
}

// A group of one needs nobody's answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_followers_serves_for_as_long_as_it_lives() {
    let mut group = Group::closed(1, |_| {});
    group.open_all().await;
    group.bootstrap().await;
    group.store("x").await;
    let leader = group.leader().await;
    let mut watch = group.replica(leader).watch_standing();
    let changed = tokio::time::timeout(Duration::from_secs(2), watch.wait_for(|status| !status.serving)).await;
    assert!(changed.is_err());
}
