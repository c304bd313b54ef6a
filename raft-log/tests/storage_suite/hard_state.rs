//! The vote survives what it must survive, and stops the node otherwise (hazards 4).

use crate::support::*;
use raft_log::env::sim::{Crash, SimDisk};
use raft_log::storage::OpenError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SLOT_B: usize = 4_096;
const SLOT_BYTES: usize = 52;

fn file() -> PathBuf {
    Path::new(DIR).join("hard-state")
}

/// Votes in terms 9, 10 and 11, all answered.
fn voted_disk() -> Arc<SimDisk> {
    let mut node = Node::new();
    node.vote(10);
    node.vote(11);
    node.stop_marked()
}

#[test]
fn an_answered_vote_survives_a_power_loss() {
    let mut node = Node::new();
    for term in 10..20 {
        node.vote(term);
        node = node.crash(Crash::LoseUnsynced).unwrap();
        assert_eq!(node.log.hard_state(), Some(voted(term)));
        assert!(!node.report.hard_state_repaired, "it lay in both slots");
    }
}

#[test]
fn each_damaged_bit_of_one_slot_is_repaired_from_the_other() {
    // hazards 4: never a fall back to the vote before
    let disk = voted_disk();
    for slot in [0, SLOT_B] {
        for bit in 0..SLOT_BYTES * 8 {
            let damaged = disk.fork();
            damaged.flip_bit(&file(), slot + bit / 8, u8::try_from(bit % 8).unwrap());
            let node = open_copy(&damaged, options()).unwrap();
            assert_eq!(node.log.hard_state(), Some(voted(11)), "slot at {slot}, bit {bit}");
            assert!(node.report.hard_state_repaired);
            let node = node.crash(Crash::LoseUnsynced).unwrap();
            assert!(!node.report.hard_state_repaired, "repaired once and for all");
        }
    }
}

#[test]
fn two_damaged_slots_stop_the_node_with_a_clear_text() {
    // hazards 4
    let disk = voted_disk();
    disk.flip_bit(&file(), 33, 1);
    disk.flip_bit(&file(), SLOT_B + 40, 7);
    let error = open_error(&disk);
    assert!(matches!(error, OpenError::HardStateDamaged { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("hard-state") && text.contains("vote is unknown"), "{text}");
}

#[test]
fn a_truncated_hard_state_uses_the_whole_slot_or_stops() {
    let disk = voted_disk();
    let shorter = disk.fork();
    shorter.truncate(&file(), SLOT_B);
    assert_eq!(open_copy(&shorter, options()).unwrap().log.hard_state(), Some(voted(11)));
    for length in [0, 20] {
        let emptied = disk.fork();
        emptied.truncate(&file(), length);
        assert!(matches!(open_error(&emptied), OpenError::HardStateDamaged { .. }));
    }
}

#[test]
fn a_power_loss_at_any_step_of_a_save_leaves_the_old_or_the_new_vote() {
    // hazards 4: slot A, sync, slot B, sync, answer
    for first_save in [true, false] {
        for step in 0..12 {
            for seed in 0..20 {
                let mut node = if first_save {
                    Node::open(raft_log::env::sim::SimEnv::new(1), options()).unwrap()
                } else {
                    Node::new()
                };
                let before = node.log.hard_state();
                node.sim.disk.power_off_after(step);
                node.log.save_hard_state(voted(10), node.done()).unwrap();
                node.stepper.step();
                let answered = node.outcomes.lock().unwrap()[0].is_ok();
                let node = node.crash(Crash::Torn { seed }).unwrap();
                let after = node.log.hard_state();
                assert!(
                    after == Some(voted(10)) || (!answered && after == before),
                    "step {step} seed {seed}: {after:?}"
                );
            }
        }
    }
}

#[test]
fn a_log_ahead_of_its_hard_state_is_refused() {
    let mut node = Node::new();
    node.append(records(9, 0..2, 10));
    let disk = node.stop_marked();
    disk.delete(&file());
    let error = open_error(&disk);
    assert!(matches!(error, OpenError::HardStateBehindLog { saved: None, .. }), "{error}");
}
