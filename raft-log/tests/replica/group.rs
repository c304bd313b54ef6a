//! Three replicas elect, replicate, lose their leader, and catch up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::Group;
use bytes::Bytes;
use raft_log::types::LogIndex;
use raft_log::{Durability, ReadError, Role};

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_elect_replicate_and_agree() {
    let group = Group::three().await;
    let mut last = LogIndex(0);
    for i in 0..50_u32 {
        let payload = Bytes::from(vec![i as u8; 10 + 2_000 * (i as usize % 5)]);
        let stored = group.store(payload.clone()).await;
        assert_eq!(stored.response, format!("applied {} bytes", payload.len()));
        last = stored.id.index;
    }
    group.await_all_applied(last).await;
    // Hazards 6: (index, term, kind, payload CRC) are equal on all nodes.
    assert!(group.assert_equal_entries() as u64 > last.0);
    let commands = group.nodes[0].machine.commands();
    assert_eq!(commands.len(), 50);
    assert!(group.nodes.iter().all(|node| node.machine.commands() == commands));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_replaced_and_catches_up_after_its_restart() {
    let mut group = Group::three().await;
    group.store("before").await;
    let old = group.leader().await;
    let old_term = group.replica(old).status().term;
    group.kill(old).await;

    let after = group.store("after").await;
    let new = group.leader().await;
    assert_ne!(new, old);
    assert!(group.replica(new).status().term > old_term);

    group.open(old).await.unwrap();
    group.await_all_applied(after.id.index).await;
    group.assert_equal_entries();
    assert_eq!(group.node(old).machine.commands(), group.node(new).machine.commands());
    assert!(group.node(old).machine.commands().contains(&Bytes::from("after")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_all_are_killed_at_once() {
    let mut group = Group::three().await;
    let stored: Vec<_> = {
        let mut stored = Vec::new();
        for i in 0..20 {
            stored.push((group.store(format!("message {i}")).await.id, format!("message {i}")));
        }
        stored
    };
    for id in group.ids() {
        group.kill(id).await;
    }
    group.open_all().await;
    let last = group.store("after the restart").await.id.index;
    group.await_all_applied(last).await;
    for id in group.ids() {
        let entries = group.entries(id);
        for (log_id, payload) in &stored {
            let entry = &entries[usize::try_from(log_id.index.0).unwrap()];
            assert_eq!((entry.id, &entry.payload[..]), (*log_id, payload.as_bytes()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn async_durability_replicates_and_syncs_in_the_background() {
    let group = Group::three_with(|options| options.durability = Durability::Async).await;
    let last = group.store("x").await.id.index;
    group.await_all_applied(last).await;
    for id in group.ids() {
        group.await_status(id, "the background sync", |status| status.durable >= Some(last)).await;
    }
    group.assert_equal_entries();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_applied_entries_are_read_and_one_always_passes() {
    let group = Group::three().await;
    let stored = group.store(vec![1; 5_000]).await.id.index;
    let leader = group.replica(group.leader().await);
    let beyond = stored.next();
    assert!(matches!(leader.read(beyond, beyond.next(), 1), Err(ReadError::NotApplied { .. })));
    let one = leader.read(stored, LogIndex(u64::MAX), 1).unwrap();
    assert_eq!(one.len(), 1, "an entry above the limit passes alone");
    assert_eq!(one[0].payload.len(), 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cache_has_dropped_is_fetched_from_disk() {
    let group = Group::three_with(|options| options.cache_bytes_max = 10_000).await;
    let mut last = LogIndex(0);
    for i in 0..20_u8 {
        last = group.store(vec![i; 5_000]).await.id.index;
    }
    let leader = group.replica(group.leader().await);
    let before = leader.storage_stats().reads_from_files;
    let all = leader.fetch(LogIndex(0), last.next(), usize::MAX).await.unwrap();
    assert!(leader.storage_stats().reads_from_files > before);
    assert_eq!(all, leader.read(LogIndex(0), last.next(), usize::MAX).unwrap());
    let payloads: Vec<u8> = all.iter().filter_map(|record| record.payload.first().copied()).collect();
    assert!(payloads.ends_with(&(0..20).collect::<Vec<u8>>()));
    let beyond = leader.fetch(last.next(), last.next().next(), 1).await;
    assert!(matches!(beyond, Err(ReadError::NotApplied { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_index_covers_what_was_acknowledged() {
    let group = Group::three().await;
    let stored = group.store("x").await.id.index;
    let leader = group.leader().await;
    assert!(group.replica(leader).read_index().await.unwrap() >= stored);
    let follower = group.follower().await;
    assert!(group.replica(follower).read_index().await.unwrap_err().surely_not_stored());
}

// Hazards 13: readers share confirmations, but never one that began before they asked.
#[tokio::test(flavor = "multi_thread")]
async fn reads_at_once_each_cover_what_was_acknowledged_before_them() {
    let group = Group::three().await;
    group.store("first").await;
    let leader = group.replica(group.leader().await).clone();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (leader, acknowledged) = (leader.clone(), acknowledged.clone());
            tokio::spawn(async move {
                for _ in 0..50 {
                    let before = acknowledged.load(Ordering::SeqCst);
                    let point = leader.read_index().await.unwrap();
                    assert!(point.0 >= before, "{point} does not cover {before}");
                    assert!(leader.read(point, point.next(), 1).is_ok(), "{point} is applied here");
                }
            })
        })
        .collect();
    while readers.iter().any(|reader| !reader.is_finished()) {
        let stored = group.store("x").await.id.index;
        acknowledged.store(stored.0, Ordering::SeqCst);
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_on_request_without_losing_the_term_to_a_timeout() {
    let group = Group::three().await;
    group.store("x").await;
    let (old, target) = (group.leader().await, group.follower().await);
    group.replica(old).transfer_leadership(Some(target)).await.unwrap();
    group.await_status(target, "leading", |status| status.role == Role::Leader && status.serving).await;
    group.store("y").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_shuts_down_hands_over_and_flushes() {
    let mut group = Group::three().await;
    let stored = group.store("x").await.id;
    let old = group.leader().await;
    let term = group.replica(old).status().term;
    group.shut_down(old).await;
    let new = group.leader().await;
    assert_ne!(new, old);
    assert_eq!(group.replica(new).status().term.0, term.0 + 1, "one election, by transfer");
    let flushed = group.node(old).machine.inside().flushed.point.clone().unwrap().id;
    assert!(flushed >= stored);
    group.open(old).await.unwrap();
    let next = group.store("y").await.id.index;
    group.await_all_applied(next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_tells_positions_members_and_who_lags() {
    let mut group = Group::three().await;
    let stored = group.store("x").await.id;
    let (leader, lagging) = (group.leader().await, group.follower().await);
    let all_matched =
        move |status: &raft_log::Status| status.members.iter().all(|member| member.matched >= Some(stored.index));
    let status = group.await_status(leader, "matching", all_matched).await;
    assert!(status.last >= status.committed && status.committed >= Some(stored));
    assert_eq!(status.members.len(), 3);
    assert!(status.members.iter().all(|member| member.voter && !member.addresses.client.is_empty()));
    group.kill(lagging).await;
    let next = group.store("y").await.id.index;
    let status = group.await_applied(leader, next).await;
    assert!(status.member(lagging).unwrap().matched < Some(next));
}
