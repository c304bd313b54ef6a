//! Full disks in a group (hazards 9): publishes are refused by type before any node runs out of space, the rest goes on.

use std::sync::Arc;

use crate::support::{Group, disk_of};
use bytes::Bytes;
use raft_log::env::Disk;
use raft_log::env::sim::SimDisk;
use raft_log::types::NodeId;
use raft_log::{ProposeError, Proposed, Room};

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
    fill(&group, &disks, leader).await;
    let refused = publish(&group, leader).await.unwrap_err();
    assert_eq!(refused, ProposeError::DiskFull { nodes: vec![leader] });
    assert!(refused.surely_not_stored() && refused.retry_can_help());
    group.replica(leader).propose(Bytes::from_static(b"an acknowledgement"), 0).await.unwrap();
    empty(&group, &disks, leader).await;
    publish(&group, leader).await.unwrap();
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
