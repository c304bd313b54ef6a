//! A sector that cannot be read is not an outage (hazards 36): a leader that meets one on behalf of a follower goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::{Group, disk_of};
use raft_log::env::Disk as _;
use raft_log::env::sim::SimDisk;
use raft_log::types::NodeId;
use raft_log::{GateReason, Health};

const PAYLOAD: usize = 20_000;

/// Three nodes on disks in memory, with small segments and nothing cached, so that reads come from files.
async fn group() -> (Group, [Arc<SimDisk>; 3]) {
    Group::three_on_simulated_disks(|options| {
        options.segment_bytes_max = 256 << 10;
        options.entry_bytes_max = 64 << 10;
        options.cache_bytes_max = 0;
    })
    .await
}

fn segments(disk: &SimDisk, dir: &Path) -> Vec<PathBuf> {
    let folder = dir.join("log");
    let names = disk.list(&folder).unwrap().into_iter().filter(|name| name.ends_with(".seg"));
    names.map(|name| folder.join(name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_meets_bad_sectors_for_a_follower_repairs_them_and_goes_on() {
    let (mut group, disks) = group().await;
    let behind = group.follower().await;
    group.store("before").await;
    group.kill(behind).await;
    // Far more than one request: the first was read long before the node is back, and waits for a connection.
    for number in 0..200 {
        group.store(vec![number; PAYLOAD]).await;
    }
    let leader = group.leader().await;
    let (disk, dir) = (disk_of(&disks, leader), group.node(leader).dir.clone());
    let files = segments(disk, &dir);
    assert!(files.len() >= 15, "{files:?}");
    let bad = &files[files.len() - 5..files.len() - 3];
    for file in bad {
        disk.lose_blocks(file, 100_000, 1);
        disk.lose_blocks(file, 150_000, 30_000);
    }
    group.open(behind).await.unwrap();
    let last = group.store("after").await.id.index;
    group.await_all_applied(last).await;
    let replica = group.replica(leader);
    let (status, stats) = (replica.status(), replica.storage_stats());
    assert!(replica.failed().is_none() && status.leader == Some(leader), "{status:?}");
    assert!(stats.repaired_ranges >= 2, "{stats:?} {}", disk.unreadable_reads());
    group.await_status(leader, "health", |status| status.health == Health::Healthy && status.gate.is_empty()).await;
    assert!(bad.iter().all(|file| disk.lost_blocks(file) == 0), "written anew");
    assert!(disk.unreadable_reads() > 0);
    group.assert_equal_entries();
}

// What was lost is held by nobody else: the node says so and keeps from leading, but it neither stops nor lets the group
// stop.
#[tokio::test(flavor = "multi_thread")]
async fn entries_that_nobody_can_give_stop_nobody() {
    let (group, disks) = group().await;
    for number in 0..60 {
        group.store(vec![number; PAYLOAD]).await;
    }
    let last = group.store("last").await.id.index;
    group.await_all_applied(last).await;
    let node = group.follower().await;
    let others: Vec<NodeId> = group.ids().into_iter().filter(|id| *id != node).collect();
    for id in group.ids() {
        let (disk, dir) = (disk_of(&disks, id), group.node(id).dir.clone());
        let file = segments(disk, &dir).remove(0);
        // The nodes' segments hold the same entries at the same places.
        disk.lose_blocks(&file, 100_000, 8_192);
    }
    let damaged = |status: &raft_log::Status| matches!(status.health, Health::Damaged { .. });
    group.await_status(node, "damage", damaged).await;
    let status = group.await_status(node, "the gate", |status| status.gate.contains(&GateReason::Damaged)).await;
    assert!(!status.gate.contains(&GateReason::DamagedTail), "what is committed does not keep it from granting");
    assert!(group.ids().iter().all(|id| group.replica(*id).failed().is_none()));
    assert_eq!(others.len(), 2);
}
