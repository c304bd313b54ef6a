//! Appends, reads, truncations and purges, without anything going wrong.

use crate::support::*;
use raft_log::env::sim::{Crash, SimEnv};
use raft_log::storage::{Durability, OpenError, StorageError, StorageOptions};
use raft_log::types::{GroupId, LogIndex};

#[test]
fn an_append_is_readable_at_once_and_acknowledged_when_synced() {
    let mut node = Node::new();
    node.queue(records(1, 0..3, 100));
    assert_eq!(node.all(), records(1, 0..3, 100));
    assert_eq!((node.durable(), node.outcomes.lock().unwrap().len()), (None, 0));
    node.step_ok();
    assert_eq!((node.durable(), node.last()), (Some(2), Some(id(1, 2))));
}

#[test]
fn waiting_appends_share_one_sync_and_are_acknowledged_in_order() {
    let mut node = Node::new();
    let syncs = node.log.stats().syncs;
    let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    for index in 0..20 {
        let order = order.clone();
        let done = Box::new(move |result: Result<(), _>| order.lock().unwrap().push((index, result.is_ok())));
        node.log.append(vec![record(1, index, 50)], done).unwrap();
    }
    node.stepper.step();
    assert_eq!(node.log.stats().syncs - syncs, 1);
    let expected: Vec<_> = (0..20).map(|index| (index, true)).collect();
    assert_eq!(*order.lock().unwrap(), expected);
}

#[test]
fn a_log_comes_back_over_many_segments() {
    let mut node = Node::new();
    for index in 0..100 {
        node.append(vec![record(1 + index / 40, index, 500 + usize::try_from(index).unwrap() * 7)]);
    }
    let expected = node.all();
    assert_eq!(expected.len(), 100);
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert!(node.report.segments > 5, "{:?}", node.report);
    assert_eq!(node.report.torn_tail, None);
    assert_eq!(node.all(), expected);
    assert_eq!(node.last(), Some(id(3, 99)));
    assert_eq!(node.durable(), Some(99));
}

#[test]
fn reads_keep_to_their_bounds_from_files_and_from_the_cache() {
    for cache_bytes_max in [0, 4_000, usize::MAX] {
        let mut node = Node::open(SimEnv::new(1), StorageOptions { cache_bytes_max, ..options() }).unwrap();
        node.vote(1);
        node.append(records(1, 0..60, 1_000));
        let read = |from, until, bytes_max| {
            let records = node.log.read(LogIndex(from), LogIndex(until), bytes_max).unwrap();
            records.iter().map(|record| record.id.index.0).collect::<Vec<_>>()
        };
        assert_eq!(read(7, 10, usize::MAX), [7, 8, 9]);
        assert_eq!(read(7, 60, 2_999), [7, 8]);
        assert_eq!(read(7, 60, 3_000), [7, 8, 9]);
        assert_eq!(read(7, 60, 0), [7], "one record always passes");
        assert_eq!(read(0, 100, usize::MAX).len(), 60, "across segments and into the cache");
        assert_eq!(read(60, 100, 1), [0_u64; 0]);
        assert_eq!(read(9, 9, 1), [0_u64; 0]);
    }
}

#[test]
fn an_append_that_does_not_follow_the_log_is_refused_and_changes_nothing() {
    let mut node = Node::new();
    node.append(records(2, 0..3, 10));
    let refused = |records| node.log.append(records, node.done()).unwrap_err();
    assert!(matches!(refused(records(2, 4..5, 10)), StorageError::NotContiguous { .. }));
    assert!(matches!(refused(vec![record(2, 3, 10), record(2, 5, 10)]), StorageError::NotContiguous { .. }));
    assert!(matches!(refused(records(1, 3..4, 10)), StorageError::TermFell { .. }));
    assert!(matches!(refused(records(2, 3..4, (8 << 10) + 1)), StorageError::RecordTooLarge { .. }));
    assert_eq!(node.last(), Some(id(2, 2)));
    node.append(records(2, 3..4, 8 << 10));
    assert_eq!(node.all().len(), 4);
}

#[test]
fn a_truncated_suffix_is_gone_at_once_and_after_a_reopen() {
    let mut node = Node::new();
    node.append(records(1, 0..50, 600));
    node.truncate_after(20);
    assert_eq!((node.last(), node.durable()), (Some(id(1, 20)), Some(20)));
    node.append(records(2, 21..23, 600));
    let expected: Vec<_> = records(1, 0..21, 600).into_iter().chain(records(2, 21..23, 600)).collect();
    assert_eq!(node.all(), expected);
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.all(), expected);
    assert_eq!(node.report.torn_tail, None);
}

#[test]
fn a_truncation_overtakes_queued_appends_in_memory_but_not_on_disk() {
    let mut node = Node::new();
    node.queue(records(1, 0..10, 100));
    node.log.truncate_after(Some(LogIndex(4)), node.done()).unwrap();
    node.queue(records(2, 5..7, 100));
    node.log.truncate_after(Some(LogIndex(5)), node.done()).unwrap();
    node.queue(records(3, 6..9, 100));
    let expected: Vec<_> =
        [records(1, 0..5, 100), records(2, 5..6, 100), records(3, 6..9, 100)].into_iter().flatten().collect();
    assert_eq!(node.all(), expected);
    node.step_ok();
    assert_eq!((node.all(), node.durable()), (expected.clone(), Some(8)));
    assert_eq!(node.crash(Crash::LoseUnsynced).unwrap().all(), expected);
}

#[test]
fn everything_can_be_truncated_and_the_log_begins_anew() {
    let mut node = Node::new();
    node.append(records(1, 0..40, 900));
    node.log.truncate_after(None, node.done()).unwrap();
    node.step_ok();
    assert_eq!((node.last(), node.durable()), (None, None));
    let mut node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.last(), None);
    node.append(records(2, 0..2, 10));
    assert_eq!(node.crash(Crash::LoseUnsynced).unwrap().all(), records(2, 0..2, 10));
}

#[test]
fn purging_moves_the_start_for_raft_and_keeps_the_bytes() {
    let mut node = Node::new();
    node.append(records(1, 0..30, 800));
    node.log.purge_to(id(1, 12), node.done()).unwrap();
    node.step_ok();
    let mut node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.log.bounds().purged, Some(id(1, 12)));
    assert_eq!(node.all().len(), 30);
    // hazards 1: what the log does not hold cannot be purged
    let refused = |id| matches!(node.log.purge_to(id, node.done()), Err(StorageError::PurgeRefused { .. }));
    assert!(refused(id(1, 30)) && refused(id(2, 20)));
    let refused = node.log.truncate_after(Some(LogIndex(11)), node.done());
    assert!(matches!(refused, Err(StorageError::TruncateRefused { .. })));
    node.log.purge_to(id(1, 3), node.done()).unwrap();
    node.step_ok();
    assert_eq!(node.log.bounds().purged, Some(id(1, 12)), "a purge point never goes back");
}

#[test]
fn async_durability_acknowledges_before_the_sync_and_tells_when_it_is_durable() {
    let options = StorageOptions { durability: Durability::Async, ..options() };
    let mut node = Node::open(SimEnv::new(1), options).unwrap();
    node.vote(1);
    node.append(records(1, 0..5, 100));
    assert_eq!(node.durable(), None);
    node.stepper.sync();
    assert_eq!(node.durable(), Some(4));
    node.append(records(1, 5..8, 100));
    assert_eq!((node.durable(), node.all().len()), (Some(4), 8));
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.all(), records(1, 0..5, 100));
}

#[test]
fn a_data_folder_is_open_once() {
    let node = Node::new();
    assert!(matches!(Node::open(node.sim.clone(), options()), Err(OpenError::Locked { .. })));
    let sim = node.sim.clone();
    node.log.shutdown();
    Node::open(sim, options()).unwrap();
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for broken in [
        StorageOptions { segment_bytes_max: 4 << 10, ..options() },
        StorageOptions { segment_bytes_max: (16 << 10) + 1, ..options() },
        StorageOptions { segment_bytes_max: 1 << 33, ..options() },
        StorageOptions { batch_bytes_max: 0, ..options() },
    ] {
        assert!(matches!(Node::open(SimEnv::new(1), broken), Err(OpenError::InvalidOptions { .. })));
    }
}

#[test]
fn files_of_another_group_are_refused() {
    let disk = Node::new().stop_marked();
    let other = open_copy(&disk, StorageOptions { group: GroupId(4), ..options() });
    assert!(matches!(other.err(), Some(OpenError::OtherGroup { found: GROUP, expected: GroupId(4), .. })));
}

#[test]
fn a_mark_at_the_end_of_a_sealed_segment_is_erased_by_a_truncation_after_a_reopen() {
    // hazards 3: a mark that outlives the entries it speaks of would make the next open see corruption
    let mut node = Node::new();
    node.append(vec![record(1, 0, 8 << 10), record(1, 1, 10)]);
    node.stepper.idle();
    node.append(vec![record(1, 2, 8 << 10)]);
    let mut node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.report.segments, 2);
    node.truncate_after(0);
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!((node.last(), node.report.torn_tail.clone()), (Some(id(1, 0)), None));
}
