//! A log that lacks space waits, step by step (hazards 9): nothing fails, and what gives space back goes before what waits.

use crate::support::*;
use raft_log::env::Disk as _;
use raft_log::env::sim::{Crash, Fault, FaultKind, SimEnv};
use raft_log::types::LogIndex;
use std::io::ErrorKind::StorageFull;
use std::time::Duration;

/// Until a job that waits is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Outcomes since the last look.
fn outcomes(node: &Node) -> Vec<bool> {
    node.outcomes.lock().unwrap().drain(..).map(|outcome| outcome.is_ok()).collect()
}

/// Five segments and a disk with room for a manifest, not for another segment; the first append that does not fit waits.
fn waiting() -> (Node, u64) {
    let mut node = five_segments();
    let used = (1 << 40) - node.sim.disk.free_bytes(DIR.as_ref()).unwrap();
    node.sim.disk.set_capacity_bytes(Some(used + 10_000));
    let mut next = 55;
    loop {
        node.queue(vec![record(1, next, 1_000)]);
        next += 1;
        node.stepper.step();
        if outcomes(&node).is_empty() {
            assert!(node.sim.disk.refused_as_full() > 0 && node.log.failure().borrow().is_none());
            return (node, next);
        }
    }
}

fn space_returns(node: &mut Node) {
    node.sim.disk.set_capacity_bytes(None);
    node.sim.clock.advance(RETRY);
    node.stepper.step();
}

#[test]
fn an_append_waits_for_space_and_goes_on_by_itself() {
    let (mut node, next) = waiting();
    node.queue(vec![record(1, next, 1_000)]);
    node.sim.clock.advance(RETRY);
    node.stepper.step();
    assert_eq!(outcomes(&node), [], "still full");
    assert_eq!(node.read_from(next), [record(1, next, 1_000)], "readable all the same");
    space_returns(&mut node);
    assert_eq!(outcomes(&node), [true, true]);
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.all(), records(1, 0..next + 1, 1_000));
}

#[test]
fn a_group_that_was_written_in_part_is_told_of_that_part_and_written_once() {
    let (node, _) = waiting();
    let mut node = node.crash(Crash::LoseUnsynced).unwrap();
    let first = node.last().unwrap().index.0 + 1;
    space_returns(&mut node);
    (first..first + 4).for_each(|index| node.append(vec![record(1, index, 1_000)]));
    let used = (1 << 40) - node.sim.disk.free_bytes(DIR.as_ref()).unwrap();
    node.sim.disk.set_capacity_bytes(Some(used + 10_000));
    (first + 4..first + 20).for_each(|index| node.queue(vec![record(1, index, 1_000)]));
    node.stepper.step();
    let told = outcomes(&node);
    assert!((1..16).contains(&told.len()) && told.iter().all(|ok| *ok), "{told:?}");
    space_returns(&mut node);
    assert_eq!(told.len() + outcomes(&node).len(), 16);
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.all(), records(1, 0..first + 20, 1_000));
}

#[test]
fn a_purge_and_a_release_go_before_the_append_that_waits_and_give_it_space() {
    let (mut node, next) = waiting();
    node.log.purge_to(id(1, 40), node.done()).unwrap();
    node.log.release_below(LogIndex(30), node.done()).unwrap();
    node.stepper.step();
    assert_eq!(outcomes(&node), [true, true, true], "the disk is as full as before");
    assert_eq!(node.last(), Some(id(1, next - 1)));
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!((node.bases()[0], node.log.bounds().purged), (22, Some(id(1, 40))));
    assert_eq!(node.read_from(22), records(1, 22..next, 1_000));
}

#[test]
fn a_vote_never_goes_before_an_append() {
    let (mut node, _) = waiting();
    node.log.save_hard_state(voted(12), node.done()).unwrap();
    node.log.purge_to(id(1, 3), node.done()).unwrap();
    node.stepper.step();
    assert_eq!(outcomes(&node), [true], "the purge alone");
    assert_eq!(node.log.hard_state(), Some(voted(9)), "a follower would acknowledge what it does not hold");
    space_returns(&mut node);
    assert_eq!((outcomes(&node), node.log.hard_state()), (vec![true, true], Some(voted(12))));
}

#[test]
fn nothing_goes_before_a_truncation_nor_a_purge_before_its_entry() {
    let (mut node, next) = waiting();
    node.log.purge_to(id(1, next - 1), node.done()).unwrap();
    node.stepper.step();
    assert_eq!(outcomes(&node), []);
    node.log.truncate_after(Some(LogIndex(next - 1)), node.done()).unwrap();
    node.log.release_below(LogIndex(30), node.done()).unwrap();
    node.stepper.step();
    assert_eq!(outcomes(&node), []);
    space_returns(&mut node);
    assert_eq!(outcomes(&node), [true; 4]);
}

#[test]
fn a_waiting_log_that_is_closed_refuses_what_waits_and_holds_what_it_told() {
    let (node, next) = waiting();
    node.sim.disk.set_capacity_bytes(None);
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.all(), records(1, 0..next - 1, 1_000));
}

#[test]
fn whatever_step_lacks_space_is_waited_out() {
    for (kind, path) in [
        (FaultKind::Open, "next.tmp"),
        (FaultKind::Allocate, "next.tmp"),
        (FaultKind::Write, "next.tmp"),
        (FaultKind::Sync, "next.tmp"),
        (FaultKind::SyncDir, "/data/log"),
        (FaultKind::Write, "manifest"),
        (FaultKind::Sync, "manifest"),
        (FaultKind::Open, "manifest.tmp"),
        (FaultKind::SyncDir, "/data"),
        (FaultKind::Write, "hard-state.tmp"),
        (FaultKind::Sync, "hard-state.tmp"),
    ] {
        let mut node = Node::open(SimEnv::new(1), options()).unwrap();
        node.sim.disk.order(Fault { times: 2, error: StorageFull, ..Fault::once(kind, path) });
        node.log.save_hard_state(voted(9), node.done()).unwrap();
        (0..30).for_each(|index| node.queue(vec![record(1, index, 1_000)]));
        for _ in 0..4 {
            node.stepper.step();
            assert!(node.log.failure().borrow().is_none(), "{kind:?} {path}");
            node.sim.clock.advance(RETRY);
        }
        assert_eq!((outcomes(&node), node.sim.disk.fault_hits()), (vec![true; 31], 2), "{kind:?} {path}");
        let node = node.crash(Crash::LoseUnsynced).unwrap();
        assert_eq!((node.all(), node.log.hard_state()), (records(1, 0..30, 1_000), Some(voted(9))), "{kind:?} {path}");
    }
}

#[test]
fn a_truncation_that_lacks_space_at_any_step_is_done_in_the_end() {
    for keep in [20, 21, 43, 44, 50] {
        for (kind, path) in [(FaultKind::Write, "manifest"), (FaultKind::Sync, "manifest"), (FaultKind::Write, ".seg")]
        {
            // Headers in a sealed segment are erased in place; only there a failure is the end of the log.
            let skips = match path {
                ".seg" if keep < 43 => 0,
                ".seg" => 1,
                _ => 2,
            };
            for skip in 0..skips {
                let mut node = five_segments();
                node.sim.disk.order(Fault { skip, error: StorageFull, ..Fault::once(kind, path) });
                node.log.truncate_after(Some(LogIndex(keep)), node.done()).unwrap();
                node.queue(records(2, keep + 1..keep + 4, 1_000));
                for _ in 0..3 {
                    node.stepper.step();
                    node.sim.clock.advance(RETRY);
                }
                let failed = node.log.failure().borrow().clone();
                assert_eq!(failed.as_ref().map(ToString::to_string), None, "{keep} {kind:?} {path} {skip}");
                assert_eq!(outcomes(&node), [true, true], "{keep} {kind:?} {path} {skip}");
                let node = node.crash(Crash::LoseUnsynced).unwrap();
                assert_eq!(node.read_from(0)[..=usize::try_from(keep).unwrap()], records(1, 0..keep + 1, 1_000));
                assert_eq!(node.read_from(keep + 1), records(2, keep + 1..keep + 4, 1_000));
            }
        }
    }
}
