//! Sectors that the device cannot read (hazards 36): damage like a flipped bit, only that the device says so.

use crate::support::*;
use raft_log::env::sim::Crash;
use raft_log::storage::{OpenError, ReadError, StorageOptions};
use raft_log::types::LogIndex;
use std::path::Path;

const STRIDE: u64 = 1_056;

/// Where a record of the first segment begins.
fn place_of(index: u64) -> u64 {
    4_096 + index * STRIDE
}

#[test]
fn what_cannot_be_read_is_damage_and_the_rest_is_served() {
    let node = five_segments();
    // Records 7 to 11 touch this block; 11 lies in the next segment already.
    node.sim.disk.lose_blocks(&segment(0), 12_288, 1);
    for index in 0..PER_SEGMENT * 5 {
        let read = node.log.read(LogIndex(index), LogIndex(index + 1), usize::MAX);
        let touched = index < PER_SEGMENT && place_of(index) < 16_384 && place_of(index + 1) > 12_288;
        match read {
            Err(ReadError::Corrupt { index: found, .. }) if touched => assert!(found.0 <= index),
            // The walk to it begins at a place that is known, which may lie before the damage.
            Err(ReadError::Corrupt { index: found, .. }) if index < PER_SEGMENT => assert!(found.0 < index),
            Ok(read) => assert_eq!(read, [record(1, index, 1_000)]),
            Err(error) => panic!("{index}: {error}"),
        }
    }
    assert!(node.log.failure().borrow().is_none(), "nobody stops for it");
}

#[test]
fn an_error_that_is_not_of_the_medium_is_no_damage() {
    use raft_log::env::sim::{Fault, FaultKind};
    let node = five_segments();
    node.sim.disk.order(Fault::once(FaultKind::Read, ".seg"));
    let error = node.log.read(LogIndex(0), LogIndex(1), usize::MAX).unwrap_err();
    assert!(matches!(error, ReadError::Io { .. }), "{error}");
    assert_eq!(node.log.read(LogIndex(0), LogIndex(1), usize::MAX).unwrap(), [record(1, 0, 1_000)]);
}

#[test]
fn a_lost_block_below_the_mark_is_corruption_at_open() {
    let disk = {
        let mut node = Node::new();
        (0..10).for_each(|index| node.append(vec![record(1, index, 1_000)]));
        node.stop_marked()
    };
    disk.lose_blocks(&segment(0), 4_096, 1);
    let error = open_error(&disk);
    assert!(matches!(error, OpenError::Corrupt { index: LogIndex(0), .. }), "{error}");
    assert!(error.to_string().contains("cannot read"), "{error}");
}

// One sector holds the last records and the very mark that says that they were durable.
#[test]
fn the_end_of_the_log_is_not_cut_silently_when_it_cannot_be_read() {
    let disk = {
        let mut node = Node::new();
        (0..3).for_each(|index| node.append(vec![record(1, index, 1_000)]));
        node.stop_marked()
    };
    disk.lose_blocks(&segment(0), 4_096, 1);
    let error = open_error(&disk);
    assert!(matches!(error, OpenError::UnreadableTail { index: LogIndex(0), .. }), "{error}");
    let mut node = open_copy(&disk, StorageOptions { cut_unreadable_tail: true, ..options() }).unwrap();
    assert!(node.report.torn_tail.is_some() && node.last().is_none());
    assert_eq!(node.sim.disk.lost_blocks(&segment(0)), 0, "written anew, so that what follows can be written");
    node.append(records(1, 0..3, 1_000));
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.all(), records(1, 0..3, 1_000));
}

#[test]
fn a_hard_state_slot_that_cannot_be_read_is_repaired_from_the_other() {
    let file = Path::new(DIR).join("hard-state");
    for slot in [0, 4_096] {
        let disk = {
            let mut node = Node::new();
            node.vote(11);
            node.stop_marked()
        };
        disk.lose_blocks(&file, slot, 1);
        let node = open_copy(&disk, options()).unwrap();
        assert_eq!(node.log.hard_state(), Some(voted(11)));
        assert_eq!(node.sim.disk.lost_blocks(&file), 0);
        let node = node.crash(Crash::LoseUnsynced).unwrap();
        assert_eq!(node.log.hard_state(), Some(voted(11)));
    }
}

#[test]
fn a_segment_header_that_cannot_be_read_is_written_anew_from_the_manifest() {
    let mut node = five_segments();
    node.stepper.idle();
    for (base, sealed) in [(0, true), (22, true), (44, false)] {
        for with_indexes in [true, false] {
            let disk = node.sim.disk.fork();
            if !with_indexes {
                forget_indexes(&disk);
            }
            disk.lose_blocks(&segment(base), 0, 1);
            let reopened = open_copy(&disk, options()).unwrap();
            assert_eq!(reopened.report.mended, [segment(base)], "sealed: {sealed}");
            assert_eq!(reopened.all(), node.all());
            assert_eq!(
                reopened.sim.disk.content(&segment(base))[..4_096],
                node.sim.disk.content(&segment(base))[..4_096]
            );
            let again = reopened.crash(Crash::LoseUnsynced).unwrap();
            assert!(again.report.mended.is_empty());
        }
    }
}
