//! What is kept of the log, and followers that are behind it (hazards 23 to 25, 35).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::gate::Gate;
use crate::support::machine::{HOLD, TRIM};
use crate::support::{Group, PATIENCE};
use bytes::Bytes;
use raft_log::types::{LogIndex, NodeId};
use raft_log::{Record, ReplicaOptions};

const ENTRY_BYTES: usize = 256 << 10;

/// Small segments of which three stay.
fn small(options: &mut ReplicaOptions) {
    options.retention.bytes_max = Some(3 * options.segment_bytes_max);
    // What is purged is not read from the cache.
    options.cache_bytes_max = 1 << 20;
    options.retention.check_interval = Duration::from_millis(20);
}

/// Stores entries of which no two are equal.
async fn fill(group: &Group, entries: u32) -> LogIndex {
    let mut last = LogIndex(0);
    for number in 0..entries {
        let mut payload = vec![number as u8; ENTRY_BYTES];
        payload[..4].copy_from_slice(&number.to_le_bytes());
        last = group.store(payload).await.id.index;
    }
    last
}

/// Stores more until a node has purged at least up to `index`; returns the last entry. A purge goes to a checkpoint, and how
/// close they lie depends on how fast the disk takes them, so no number of entries is enough for sure.
async fn fill_until_purged(group: &Group, id: NodeId, index: LogIndex) -> LogIndex {
    let filling = async {
        let mut last = fill(group, 1).await;
        while group.replica(id).status().purged.is_none_or(|purged| purged.index < index) {
            last = fill(group, 4).await;
        }
        last
    };
    tokio::time::timeout(PATIENCE, filling).await.expect("the log is purged")
}

/// The one that caught up has all that is to be retained, and what both hold is equal byte for byte. Each purges in its own
/// time, so either may begin first.
fn assert_caught_up(group: &Group, leader: NodeId, id: NodeId) {
    let (leaders, own) = (group.retained(leader), group.retained(id));
    let needed_from = |node| group.node(node).machine.inside().state.needed_from;
    let kept = needed_from(leader).max(needed_from(id));
    assert!(own[0].id.index <= kept, "nothing that is to be retained is missing");
    let first = leaders[0].id.index.max(own[0].id.index);
    let leaders: Vec<&Record> = leaders.iter().filter(|record| record.id.index >= first).collect();
    let own: Vec<&Record> = own.iter().filter(|record| record.id.index >= first).collect();
    let common = leaders.len().min(own.len());
    assert!(common > 10, "something is left to compare");
    for (one, other) in leaders[..common].iter().zip(own) {
        assert_eq!((one.id, one.kind, &one.payload), (other.id, other.kind, &other.payload));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_segments_go_and_the_rest_reads_back() {
    let group = Group::three_with(small).await;
    fill(&group, 120).await;
    for id in group.ids() {
        let last = fill_until_purged(&group, id, LogIndex(40)).await;
        group.await_applied(id, last).await;
        assert!(group.retained(id).last().unwrap().id.index >= last);
        let released = async {
            loop {
                match group.replica(id).read(LogIndex(1), LogIndex(2), 1) {
                    Ok(_) => tokio::task::yield_now().await,
                    Err(error) => return error.to_string(),
                }
            }
        };
        let text = tokio::time::timeout(PATIENCE, released).await.expect("purged segments are released");
        assert!(text.contains("below the first kept entry"), "{text}");
    }
    let oldest = |id| group.node(id).dir.join("log/00000000000000000000.seg");
    let gone = async {
        while group.ids().iter().any(|id| oldest(*id).exists()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the files of released segments are no segments any more");
}

// Hazards 23: a bound never takes what the state machine needs.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_state_machine_needs_stays_whatever_the_bounds_say() {
    let group = Group::three_with(small).await;
    let held = group.store(format!("{HOLD}25")).await.id.index;
    assert!(held < LogIndex(25));
    let last = fill(&group, 120).await;
    group.await_all_applied(last).await;
    for id in group.ids() {
        let trimmed = || group.node(id).machine.inside().state.needed_from;
        let settled = async {
            while trimmed() < LogIndex(25) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.unwrap();
        assert_eq!(trimmed(), LogIndex(25));
        let purged = group.replica(id).status().purged;
        assert!(purged.is_none_or(|purged| purged.index < LogIndex(25)), "{purged:?}");
        assert_eq!(group.replica(id).read(LogIndex(25), LogIndex(26), 1).unwrap()[0].id.index, LogIndex(25));
    }
}

/// A follower that is away since this entry, while more are stored.
async fn leave_behind(group: &mut Group, more: u32) -> (NodeId, LogIndex) {
    let behind = fill(group, 5).await;
    let id = group.follower().await;
    group.await_applied(id, behind).await;
    group.kill(id).await;
    fill(group, more).await;
    (id, behind)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_behind_the_purge_point_ends_with_every_retained_entry() {
    let mut group = Group::three_with(small).await;
    let (id, behind) = leave_behind(&mut group, 150).await;
    let leader = group.leader().await;
    let last = fill_until_purged(&group, leader, LogIndex(behind.0 + 20)).await;
    group.open(id).await.unwrap();
    group.await_applied(id, last).await;
    assert_eq!(group.node(id).machine.inside().restores, 1);
    assert_caught_up(&group, leader, id);

    // It goes on as any other, also after a restart.
    let more = fill(&group, 3).await;
    group.await_applied(id, more).await;
    group.shut_down(id).await;
    group.open(id).await.unwrap();
    let more = fill(&group, 3).await;
    group.await_applied(id, more).await;
    assert_caught_up(&group, leader, id);
    let inside = group.node(id).machine.inside();
    assert_eq!(inside.state.commands, group.node(leader).machine.commands());
}

/// A group whose log is purged beyond what this node has, which is away, and a gate before it.
async fn away_behind_a_gate(id: NodeId) -> (Group, Gate) {
    let mut group = Group::closed(3, small);
    let gate = Gate::before(group.node(id).listen).await;
    group.node_mut(id).advertised = gate.address.to_string();
    group.open_all().await;
    group.bootstrap().await;
    group.kill(id).await;
    fill(&group, 100).await;
    fill_until_purged(&group, group.leader().await, LogIndex(30)).await;
    (group, gate)
}

// No connection lives long enough for the whole checkpoint: it arrives only if each one goes on where the last stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_cut_again_and_again_goes_on_where_it_was() {
    const CUT_BYTES: u64 = (5 << 20) / 2;
    let id = NodeId(3);
    let (mut group, gate) = away_behind_a_gate(id).await;
    let (leader, last) = (group.leader().await, fill(&group, 1).await);

    gate.cut_after(CUT_BYTES);
    group.open(id).await.unwrap();
    group.await_status(id, "an install", |status| status.purged.is_some()).await;
    let checkpoint = group.replica(id).status().purged.unwrap().index;
    let state_bytes = (checkpoint.0 - 5) * ENTRY_BYTES as u64;
    assert!(gate.cuts() >= state_bytes / CUT_BYTES, "{} cuts for {state_bytes} bytes", gate.cuts());
    gate.cut_after(0);
    group.await_applied(id, last).await;
    assert_eq!(group.node(id).machine.inside().restores, 1);
    assert_caught_up(&group, leader, id);
}

// Hazards 25: a purge meanwhile would make what is on its way useless, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_waits_for_a_checkpoint_that_is_on_its_way() {
    let id = NodeId(3);
    let (mut group, gate) = away_behind_a_gate(id).await;
    let leader = group.leader().await;
    let other = group.ids().into_iter().find(|node| ![id, leader].contains(node)).unwrap();
    // Less than a piece of a checkpoint, so that it is on its way for as long as this lasts.
    gate.cut_after(512 << 10);
    group.open(id).await.unwrap();
    let begun = async {
        while gate.cuts() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("a transfer begins");
    let purged = |node| group.replica(node).status().purged.unwrap().index;
    let held = purged(leader);
    let last = fill_until_purged(&group, other, LogIndex(purged(other).0 + 40)).await;
    assert_eq!(purged(leader), held, "only the node that sends it waits");
    gate.cut_after(0);
    group.await_applied(id, last).await;
    assert_eq!(group.node(id).machine.inside().restores, 1, "and it was of use");
}

// Hazards 35: a bound that is set by mistake is seen before much is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_goes_in_small_steps_under_a_new_bound() {
    const ENTRIES: u8 = 160;
    const PER_SEGMENT: u64 = 4;
    let bytes_max = Arc::new(AtomicU64::new(u64::MAX));
    let bound = bytes_max.clone();
    let mut group = Group::closed(1, move |options| {
        (options.segment_bytes_max, options.entry_bytes_max) = (256 << 10, 64 << 10);
        options.retention.bytes_max = Some(bound.load(Ordering::Relaxed));
        options.retention.check_interval = Duration::from_millis(20);
    });
    let id = NodeId(1);
    group.open_all().await;
    group.bootstrap().await;
    for number in 0..ENTRIES {
        group.store(vec![number; 60 << 10]).await;
    }
    group.shut_down(id).await;
    bytes_max.store(1, Ordering::Relaxed);
    group.open(id).await.unwrap();
    let trimmed = async {
        while group.node(id).machine.inside().state.needed_from < LogIndex(120) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, trimmed).await.expect("what exceeds the bound goes");
    let number = |command: &Bytes| str::from_utf8(command.strip_prefix(TRIM.as_bytes())?).ok()?.parse::<u64>().ok();
    let trims = group.node(id).machine.commands().iter().filter_map(number).collect::<Vec<u64>>();
    let steps = trims.iter().scan(0, |before, to| Some(to - std::mem::replace(before, *to)));
    // A twentieth of 40 segments; in the first there are small entries as well.
    assert!(steps.max().unwrap() <= 3 * PER_SEGMENT, "{trims:?}");
}

// Hazards 36: no other checkpoint than the one at the purge point brings a follower all that is retained. A leader that finds
// its own damaged gives way to a node that has one.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_checkpoint_is_damaged_lets_another_bring_a_follower_up() {
    let mut group = Group::three_with(small).await;
    let (id, behind) = leave_behind(&mut group, 100).await;
    let leader = group.leader().await;
    let mut last = LogIndex(0);
    for node in group.ids().into_iter().filter(|node| *node != id) {
        last = fill_until_purged(&group, node, LogIndex(behind.0 + 20)).await;
    }
    // Whatever the log is purged to now, the leader's checkpoints are no good.
    for checkpoint in std::fs::read_dir(group.node(leader).dir.join("checkpoints")).unwrap() {
        let Ok(files) = std::fs::read_dir(checkpoint.unwrap().path().join("state")) else { continue };
        for file in files {
            let path = file.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[100] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    group.open(id).await.unwrap();
    group.await_applied(id, last).await;
    let next = group.leader().await;
    assert_ne!(next, leader);
    assert_eq!(group.node(id).machine.inside().restores, 1);
    assert_caught_up(&group, next, id);
}
