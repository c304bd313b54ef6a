//! Calls that fail: nothing is acknowledged that is not safe, and the log stays dead.

use crate::support::*;
use raft_log::env::sim::{Crash, Fault, FaultKind};
use raft_log::storage::{Durability, OpenError, StorageError, StorageOptions};

fn is_ok(node: &Node) -> Vec<bool> {
    node.outcomes.lock().unwrap().iter().map(Result::is_ok).collect()
}

#[test]
pub(crate) fn a_failed_sync_is_final_though_the_next_one_would_succeed() {
    let mut node = Node::new();
    node.append(records(1, 0..3, 100));
    node.sim.disk.order(Fault::once(FaultKind::Sync, ".seg"));
    node.queue(records(1, 3..4, 100));
    node.queue(records(1, 4..5, 100));
    node.stepper.step();
    assert_eq!(node.sim.disk.fault_hits(), 1);
    assert_eq!(is_ok(&node), [false, false]);
    let failure = node.log.failure().borrow().clone().unwrap();
    assert!(failure.is_fatal() && failure.to_string().contains(".seg"), "{failure}");
    assert_eq!(node.durable(), Some(2));

    let refused = node.log.append(records(1, 5..6, 10), node.done());
    assert!(matches!(refused, Err(StorageError::Io { .. })));
    assert!(node.log.save_hard_state(voted(12), node.done()).is_err());
    assert!(node.log.truncate_after(None, node.done()).is_err());
    node.stepper.idle();
    node.stepper.sync();
    assert_eq!((is_ok(&node), node.durable()), (vec![false, false], Some(2)));
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.all(), records(1, 0..3, 100), "what was swallowed is gone, and nobody was told otherwise");
}

#[test]
fn a_failed_background_sync_is_final_too() {
    let mut node =
        Node::open(raft_log::env::sim::SimEnv::new(1), StorageOptions { durability: Durability::Async, ..options() })
            .unwrap();
    node.vote(1);
    node.append(records(1, 0..3, 100));
    node.sim.disk.order(Fault::once(FaultKind::Sync, ".seg"));
    node.stepper.sync();
    assert!(node.log.failure().borrow().is_some());
    node.stepper.sync();
    assert_eq!(node.durable(), None);
    assert!(node.log.append(records(1, 3..4, 10), node.done()).is_err());
}

#[test]
fn any_failing_call_of_the_writing_side_kills_the_log_and_loses_nothing_acknowledged() {
    for (kind, path) in [
        (FaultKind::Write, ".seg"),
        (FaultKind::Write, "next.tmp"),
        (FaultKind::Write, "hard-state"),
        (FaultKind::Write, "manifest"),
        (FaultKind::Sync, "next.tmp"),
        (FaultKind::Sync, "hard-state"),
        (FaultKind::Sync, "manifest"),
        (FaultKind::SyncDir, "log"),
        (FaultKind::SyncDir, "data"),
        (FaultKind::Allocate, "next.tmp"),
        (FaultKind::Open, "next.tmp"),
    ] {
        let mut node = Node::new();
        node.append(records(1, 0..3, 100));
        node.sim.disk.order(Fault::once(kind, path));
        let mut acknowledged = 3;
        for index in 3..100 {
            if node.log.save_hard_state(voted(9 + index), node.done()).is_err() {
                break;
            }
            let appended = node.log.append(vec![record(1, index, 1_000)], node.done());
            node.stepper.step();
            let outcome = appended.is_ok() && is_ok(&node).last() == Some(&true);
            node.outcomes.lock().unwrap().clear();
            if !outcome {
                break;
            }
            assert!(node.log.failure().borrow().is_none(), "{kind:?} {path}: acknowledged after a failure");
            acknowledged = index + 1;
        }
        assert_eq!(node.sim.disk.fault_hits(), 1, "{kind:?} {path} never struck");
        assert!(node.log.failure().borrow().is_some(), "{kind:?} {path}");
        let node = node.crash(Crash::LoseUnsynced).unwrap();
        let kept = node.all();
        assert!(kept.len() as u64 >= acknowledged, "{kind:?} {path}: {} of {acknowledged}", kept.len());
    }
}

#[test]
fn a_read_error_is_told_and_passes() {
    let mut node = Node::new();
    node.append(records(1, 0..3, 100));
    node.sim.disk.order(Fault::once(FaultKind::Read, ".seg"));
    let read = || node.log.read(raft_log::types::LogIndex(0), raft_log::types::LogIndex(3), usize::MAX);
    assert!(matches!(read(), Err(raft_log::storage::ReadError::Io { .. })));
    assert_eq!(read().unwrap().len(), 3);
    assert!(node.log.failure().borrow().is_none(), "a read error is not the log's death");
}

#[test]
fn an_error_while_opening_names_the_file() {
    let disk = Node::new().stop_marked();
    for (kind, path) in
        [(FaultKind::Read, "manifest"), (FaultKind::Open, "hard-state"), (FaultKind::Read, "hard-state")]
    {
        let damaged = disk.fork();
        damaged.order(Fault::once(kind, path));
        let sim =
            raft_log::env::sim::SimEnv { disk: std::sync::Arc::new(damaged), ..raft_log::env::sim::SimEnv::new(1) };
        let error = Node::open(sim, options()).err().unwrap();
        assert!(matches!(&error, OpenError::Io { file, .. } if file.ends_with(path)), "{error}");
    }
}

/// The process starts again after a failed sync, on the same machine: the page cache shows what the disk lacks.
#[test]
pub(crate) fn what_a_failed_sync_left_in_the_page_cache_is_written_again() {
    let mut node = Node::new();
    node.append(records(1, 0..3, 700));
    node.sim.disk.order(Fault::once(FaultKind::Sync, ".seg"));
    node.queue(records(1, 3..6, 700));
    node.stepper.step();
    assert!(node.outcomes.lock().unwrap().iter().any(Result::is_err));

    let node = node.crash(Crash::KeepAll).unwrap();
    let found = node.all();
    assert_eq!(found.len(), 6, "the page cache holds all of them");
    assert_eq!(node.durable(), Some(5));
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.all(), found);
}

#[test]
fn a_mark_that_a_failed_sync_left_in_the_page_cache_leaves_no_gap() {
    let mut node = Node::new();
    node.append(records(1, 0..3, 700));
    node.sim.disk.order(Fault::once(FaultKind::Sync, ".seg"));
    node.stepper.idle();
    assert_eq!(node.sim.disk.fault_hits(), 1, "the mark was written and its sync failed");

    let mut node = node.crash(Crash::KeepAll).unwrap();
    node.append(records(1, 3..6, 700));
    let found = node.all();
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.all(), found);
}
