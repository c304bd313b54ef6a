//! Full disks in a group (hazards 9): publishes are refused by type before any node runs out of space, the rest goes on.

use std::sync::Arc;

use crate::support::{Group, disk_of};
use bytes::Bytes;
use raft_log::env::Disk;
use raft_log::env::sim::SimDisk;
use raft_log::types::{LogIndex, NodeId};
use raft_log::{ProposeError, Proposed, ReplicaOptions, Room};

/// Below this a node says that it is low; the default of its options.
const RESERVE_BYTES: u64 = 256 << 20;

/// Leaves less than the reserve free.
async fn fill(group: &Group, disks: &[Arc<SimDisk>], id: NodeId) {
    let disk = disk_of(disks, id);
    let used = (1 << 40) - disk.free_bytes(&group.node(id).dir).unwrap();
    disk.set_capacity_bytes(Some(used + RESERVE_BYTES - 1));
    group.await_status(id, "low", |status| status.room == Room::Low).await;
}

async fn empty(group: &Group, disks: &[Arc<SimDisk>], id: NodeId) {
    disk_of(disks, id).set_capacity_bytes(None);
    group.await_status(id, "room", |status| status.room == Room::Enough).await;
}

async fn publish(group: &Group, leader: NodeId) -> Result<Proposed, ProposeError> {
    group.replica(leader).propose(Bytes::from_static(b"a message"), 1).await
}

/// Waits until the leader knows what its followers have said.
async fn until(group: &Group, leader: NodeId, full: &[NodeId]) {
    let known = async {
        while group.replica(leader).full_members() != full {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, known).await.expect("the leader hears of it");
}

#[tokio::test]
async fn a_leader_whose_disk_is_nearly_full_refuses_messages_and_nothing_else() {
    let (group, disks) = Group::three_on_simulated_disks(|_| {}).await;
    let leader = group.leader().await;
    publish(&group, leader).await.unwrap();
    // Else it would hand over to those with room.
    let follower = group.follower().await;
    fill(&group, &disks, follower).await;
    fill(&group, &disks, leader).await;
    until(&group, leader, &[leader, follower]).await;
    let refused = publish(&group, leader).await.unwrap_err();
    assert_eq!(refused, ProposeError::DiskFull { nodes: vec![leader, follower] });
    assert!(refused.surely_not_stored() && refused.retry_can_help());
    group.replica(leader).propose(Bytes::from_static(b"an acknowledgement"), 0).await.unwrap();
    empty(&group, &disks, leader).await;
    publish(&group, leader).await.unwrap();
}

#[tokio::test]
async fn a_leader_whose_disk_is_nearly_full_gives_way_to_one_with_room() {
    let (group, disks) = Group::three_on_simulated_disks(|_| {}).await;
    let leader = group.leader().await;
    publish(&group, leader).await.unwrap();
    fill(&group, &disks, leader).await;
    group.await_status(leader, "another leader", |status| status.leader.is_some_and(|now| now != leader)).await;
    let next = group.leader().await;
    publish(&group, next).await.unwrap();
}

// Hazards 35: disks that others fill refuse what is new; what is there stays, whoever has read it.
#[tokio::test]
async fn above_the_high_water_mark_publishes_are_refused_and_nothing_is_trimmed() {
    let (group, disks) = Group::three_on_simulated_disks(above_half).await;
    let leader = group.leader().await;
    let mut last = publish(&group, leader).await.unwrap().id.index;
    for number in 0..40 {
        let payload = vec![number; 256 << 10];
        last = group.replica(leader).propose(payload.into(), 1).await.unwrap().id.index;
    }
    group.await_all_applied(last).await;
    for id in group.ids() {
        let disk = disk_of(&disks, id);
        let used = (1 << 40) - disk.free_bytes(&group.node(id).dir).unwrap();
        disk.set_capacity_bytes(Some(used + used / 2));
        group.await_status(id, "low", |status| status.room == Room::Low).await;
    }
    assert!(matches!(publish(&group, leader).await, Err(ProposeError::DiskFull { .. })));
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    for id in group.ids() {
        assert_eq!(group.node(id).machine.inside().state.needed_from, LogIndex(0));
        assert_eq!(group.replica(id).status().purged, None);
    }
}

/// Refuses publishes on disks that are more than half full.
fn above_half(options: &mut ReplicaOptions) {
    options.retention.disk_high_water_percent = 50;
    options.retention.check_interval = std::time::Duration::from_millis(20);
}

#[tokio::test]
async fn messages_are_refused_while_no_majority_could_take_them() {
    let (group, disks) = Group::three_on_simulated_disks(|_| {}).await;
    let leader = group.leader().await;
    let followers: Vec<NodeId> = group.ids().into_iter().filter(|id| *id != leader).collect();
    fill(&group, &disks, followers[0]).await;
    publish(&group, leader).await.unwrap();
    fill(&group, &disks, followers[1]).await;
    until(&group, leader, &followers).await;
    assert_eq!(publish(&group, leader).await.unwrap_err(), ProposeError::DiskFull { nodes: followers.clone() });
    empty(&group, &disks, followers[0]).await;
    until(&group, leader, &[]).await;
    publish(&group, leader).await.unwrap();
}
