//! Files of released segments become segments again: what an earlier life left in them is never read, and a torn tail is
//! still told from damage.

use crate::support::*;
use raft_log::env::sim::{Crash, Fault, FaultKind, SimDisk, SimEnv};
use raft_log::storage::{OpenError, Sizes, StorageOptions};
use raft_log::types::LogIndex;

/// A node whose newest segment was the file of an earlier one, and holds `entries` records of the same size.
fn recycled(entries: u64) -> Node {
    let mut node = five_segments();
    node.purge_to(id(1, 40));
    node.release_below(30);
    assert_eq!(node.files(".spare").len(), 2);
    (55..55 + entries).for_each(|index| node.append(vec![record(1, index, 1_000)]));
    assert_eq!((node.log.stats().segments_recycled, node.files(".spare").len()), (1, 1));
    assert_eq!(node.bases().last(), Some(&55));
    node
}

/// Where the records of the newest segment begin.
fn offset(nth: u64) -> usize {
    usize::try_from(4_096 + nth * 1_056).unwrap()
}

#[test]
pub(crate) fn what_an_earlier_life_left_is_not_read_and_is_no_torn_tail() {
    // The earlier life's records stand exactly where the next ones would: only the salt tells them apart.
    for entries in 1..=PER_SEGMENT {
        let node = recycled(entries);
        let old = node.sim.disk.content(&segment(55));
        assert!(entries == PER_SEGMENT || old[offset(entries)..offset(entries) + 56].iter().any(|byte| *byte != 0));
        let mut node = node.crash(Crash::LoseUnsynced).unwrap();
        assert_eq!((node.last(), node.report.torn_tail.clone()), (Some(id(1, 54 + entries)), None));
        assert_eq!(node.all(), records(1, 22..55 + entries, 1_000));
        node.append(records(2, 55 + entries..58 + entries, 700));
        assert_eq!(node.crash(Crash::LoseUnsynced).unwrap().last(), Some(id(2, 57 + entries)));
    }
}

#[test]
fn a_spare_waits_through_a_restart_and_is_used() {
    let mut node = five_segments();
    node.purge_to(id(1, 40));
    node.release_below(30);
    let mut node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.files(".spare").len(), 2);
    let allocated = node.log.stats().allocated_bytes;
    (55..80).for_each(|index| node.append(vec![record(1, index, 1_000)]));
    assert_eq!((node.log.stats().segments_recycled, node.files(".spare").len()), (2, 0));
    assert!(allocated >= 2 * (16 << 10), "spares are room on a full disk: {allocated}");
    assert_eq!(node.crash(Crash::LoseUnsynced).unwrap().all(), records(1, 22..80, 1_000));
}

#[test]
fn spares_are_bounded_and_of_one_size() {
    let mut node = five_segments();
    node.purge_to(id(1, 54));
    node.release_below(100);
    assert_eq!((node.files(".seg").len(), node.files(".spare").len()), (1, 2));
    // With another segment size they are of no use, and go.
    node.options.segment_bytes_max = 32 << 10;
    let mut node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.files(".spare").len(), 0);
    (55..100).for_each(|index| node.append(vec![record(1, index, 1_000)]));
    node.purge_to(id(1, 99));
    node.release_below(100);
    assert_eq!(node.files(".spare").len(), 1, "the one old segment is smaller and not kept");
}

#[test]
pub(crate) fn a_torn_tail_of_a_recycled_segment_is_cut_and_damage_below_the_mark_is_told() {
    // hazards 3
    let torn = |node: Node, nth: u64| {
        node.sim.disk.flip_bit(&segment(55), offset(nth) + 500, 0);
        node.crash(Crash::LoseUnsynced)
    };
    let node = torn(recycled(5), 4).unwrap();
    let tail = node.report.torn_tail.clone().unwrap();
    assert_eq!((tail.index, tail.offset), (LogIndex(59), offset(4) as u64));
    assert_eq!(node.all(), records(1, 22..59, 1_000));
    let mut marked = recycled(5);
    marked.stepper.idle();
    for (node, nth) in [(recycled(5), 3), (marked, 4)] {
        let error = torn(node, nth).err().unwrap();
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    }
}

#[test]
fn every_flipped_bit_in_the_headers_of_a_recycled_segment_is_detected_or_harmless() {
    let node = recycled(5);
    let expected = node.all();
    let disk = node.stop_marked();
    let detected = |byte: usize| {
        let damaged: SimDisk = disk.fork();
        damaged.flip_bit(&segment(55), byte, u8::try_from(byte % 8).unwrap());
        match open_copy(&damaged, options()) {
            Ok(node) => {
                assert_eq!(node.all(), expected, "byte {byte}");
                !node.report.mended.is_empty()
            }
            Err(_) => true,
        }
    };
    assert!((0..68).all(detected), "the whole segment header counts");
    for nth in 0..5 {
        let header = offset(nth)..offset(nth) + 56;
        assert!(header.clone().all(detected), "record {nth}");
    }
    (offset(5)..offset(9))
        .step_by(7)
        .for_each(|byte| assert!(!detected(byte), "what an earlier life left is of no meaning"));
}

#[test]
fn a_header_of_an_earlier_life_is_not_taken_for_the_present_one() {
    // The sector with the new header was lost by the device: the old header is whole in itself.
    let mut node = five_segments();
    let old_header = node.sim.disk.content(&segment(0))[..4_096].to_vec();
    node.purge_to(id(1, 40));
    node.release_below(30);
    node.append(vec![record(1, 55, 1_000)]);
    let disk = node.stop_marked();
    for base in [22, 55] {
        let damaged = disk.fork();
        damaged.overwrite(&segment(base), 0, &old_header);
        let error = open_error(&damaged);
        assert!(matches!(&error, OpenError::Damaged { file, .. } if *file == segment(base)), "{error}");
    }
}

#[test]
pub(crate) fn damage_far_behind_the_last_saved_index_is_still_told() {
    let sizes = Sizes { index_every: 2_000, unsynced_max: 4 << 10, ..Sizes::default() };
    let options = StorageOptions { segment_bytes_max: 64 << 10, sizes, ..options() };
    let mut node = Node::open(SimEnv::new(1), options).unwrap();
    node.vote(9);
    (0..120).for_each(|index| node.append(vec![record(1, index, 1_000)]));
    node.purge_to(id(1, 110));
    node.release_below(110);
    (120..180).for_each(|index| node.append(vec![record(1, index, 1_000)]));
    assert_eq!(node.log.stats().segments_recycled, 1);
    let base = *node.bases().last().unwrap();
    // No further index of it can be saved.
    let full = std::io::ErrorKind::StorageFull;
    node.sim.disk.order(Fault { times: u32::MAX, error: full, ..Fault::once(FaultKind::Write, ".idx") });
    (180..base + 50).for_each(|index| node.append(vec![record(1, index, 1_000)]));
    assert!(node.sim.disk.fault_hits_of(FaultKind::Write) > 0);
    for nth in 0..48 {
        let damaged = node.sim.disk.fork();
        damaged.crash(Crash::LoseUnsynced);
        damaged.flip_bit(&segment(base), offset(nth) + 500, 0);
        let opened = open_copy(&damaged, node.options.clone());
        // What the last saved index covers is checked when it is read.
        let indexed = nth < 180 - base;
        assert!(indexed || matches!(opened, Err(OpenError::Corrupt { .. })), "record {nth} was cut silently");
    }
}
