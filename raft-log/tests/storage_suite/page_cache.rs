//! What a failed sync leaves in the page cache is a lie, for every kind of write (hazards 32): the process starts again on the
//! same machine, reads what is not on the disk, and the power goes off later.

use crate::support::*;
use raft_log::env::sim::{Crash, Fault, FaultKind};
use raft_log::types::LogIndex;

/// The second sync of a segment by a truncation, after that of what it keeps: that of what it erases.
fn erasure() -> Fault {
    Fault { skip: 1, ..Fault::once(FaultKind::Sync, ".seg") }
}

/// The sync that a truncation erases with fails; the process starts again.
fn erasure_fails(node: Node, keep: u64) -> Node {
    let mut node = node;
    node.sim.disk.order(erasure());
    node.log.truncate_after(Some(LogIndex(keep)), node.done()).unwrap();
    node.stepper.step();
    assert_eq!(node.sim.disk.fault_hits(), 1, "the erasure's sync failed");
    assert!(node.outcomes.lock().unwrap().iter().any(Result::is_err));
    let node = node.crash(Crash::KeepAll).unwrap();
    assert_eq!((node.last(), node.report.truncation_finished), (Some(id(1, keep)), Some(LogIndex(keep + 1))));
    node
}

#[test]
pub(crate) fn what_a_failed_erasure_left_on_disk_never_comes_back() {
    let mut node = Node::new();
    node.append(records(1, 0..3, 700));
    node.append(records(2, 3..6, 700));
    let mut node = erasure_fails(node, 2);
    // An entry of the length of the first that was removed: the next removed one would follow it.
    node.append(records(1, 3..4, 700));
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.all(), records(1, 0..4, 700));
}

#[test]
fn nor_when_nothing_was_appended_behind_the_cut() {
    let mut node = Node::new();
    node.append(records(1, 0..3, 700));
    node.append(records(2, 3..6, 700));
    let node = erasure_fails(node, 2).crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.all(), records(1, 0..3, 700));
    let mut node = node.crash(Crash::KeepAll).unwrap();
    node.append(records(3, 3..5, 700));
    node.truncate_after(3);
    node.append(records(4, 4..5, 700));
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.read_from(3), [record(3, 3, 700), record(4, 4, 700)]);
}

#[test]
fn a_failed_erasure_in_a_sealed_segment_is_as_harmless() {
    for keep in [25, 31, 32, 43] {
        let mut node = erasure_fails_in_five_segments(keep);
        (keep + 1..keep + 30).for_each(|index| node.append(vec![record(2, index, 1_000)]));
        let node = node.crash(Crash::LoseUnsynced).unwrap();
        assert_eq!(node.read_from(0)[..=usize::try_from(keep).unwrap()], records(1, 0..keep + 1, 1_000));
        assert_eq!(node.read_from(keep + 1), records(2, keep + 1..keep + 30, 1_000));
    }
}

/// Where the cut lies between two segments, nothing is erased and nothing fails.
fn erasure_fails_in_five_segments(keep: u64) -> Node {
    let mut node = five_segments();
    node.sim.disk.order(erasure());
    node.log.truncate_after(Some(LogIndex(keep)), node.done()).unwrap();
    node.stepper.step();
    node.sim.disk.clear_faults();
    let mut node = node.crash(Crash::KeepAll).unwrap();
    assert_eq!(node.last(), Some(id(1, keep)));
    node.stepper.idle();
    node
}

#[test]
fn remains_of_a_torn_write_that_could_not_be_erased_never_come_back() {
    let mut node = Node::new();
    node.append(records(1, 0..3, 700));
    node.append(records(2, 3..6, 700));
    // Above the durable mark: torn.
    let offset = 4_096 + 3 * 760 + 100;
    node.sim.disk.flip_bit(&segment(0), offset, 0);
    node.sim.disk.crash(Crash::LoseUnsynced);
    // The first sync is of what is written again.
    node.sim.disk.order(Fault { skip: 1, ..Fault::once(FaultKind::Sync, ".seg") });
    assert!(Node::open(node.sim.clone(), options()).is_err());
    assert_eq!(node.sim.disk.fault_hits(), 1);
    let mut node = node.crash(Crash::KeepAll).unwrap();
    assert_eq!(node.all(), records(1, 0..3, 700));
    node.append(records(1, 3..4, 700));
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.all(), records(1, 0..4, 700));
}

#[test]
pub(crate) fn a_slot_that_was_not_synced_is_no_second_copy_of_a_vote() {
    let mut node = Node::new();
    node.sim.disk.order(Fault { skip: 1, ..Fault::once(FaultKind::Sync, "hard-state") });
    node.log.save_hard_state(voted(10), node.done()).unwrap();
    node.stepper.step();
    assert_eq!(node.sim.disk.fault_hits(), 1, "the second slot's sync failed");

    let node = node.crash(Crash::KeepAll).unwrap();
    assert_eq!((node.log.hard_state(), node.report.hard_state_repaired), (Some(voted(10)), false));
    node.sim.disk.crash(Crash::LoseUnsynced);
    node.sim.disk.flip_bit(&std::path::Path::new(DIR).join("hard-state"), 40, 0);
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.log.hard_state(), Some(voted(10)), "the node would vote twice in this term");
}

#[test]
fn the_hard_state_survives_a_power_loss_at_any_step_of_writing_it_again() {
    for skip in 0..2 {
        let mut voting = Node::new();
        voting.sim.disk.order(Fault { skip, ..Fault::once(FaultKind::Sync, "hard-state") });
        voting.log.save_hard_state(voted(10), voting.done()).unwrap();
        voting.stepper.step();
        voting.sim.disk.crash(Crash::KeepAll);
        for changes in 0..30 {
            for seed in 0..4 {
                let sim = raft_log::env::sim::SimEnv {
                    disk: std::sync::Arc::new(voting.sim.disk.fork()),
                    ..raft_log::env::sim::SimEnv::new(1)
                };
                sim.disk.power_off_after(changes);
                let opened = Node::open(sim.clone(), options()).is_ok();
                sim.disk.crash(Crash::Torn { seed });
                let node = Node::open(sim, options()).unwrap();
                let found = node.log.hard_state();
                let may_be_older = skip == 0 && !opened;
                assert!(found == Some(voted(10)) || (may_be_older && found == Some(voted(9))), "{found:?}");
            }
        }
    }
}
