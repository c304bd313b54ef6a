//! The saved index of a segment: opening relies on one that fits, and on nothing else.

use crate::support::*;
use raft_log::env::sim::{Crash, SimDisk, SimEnv};
use raft_log::storage::{Record, Sizes, StorageOptions};
use raft_log::types::LogIndex;
use std::path::{Path, PathBuf};

fn sidecar(base: u64) -> PathBuf {
    segment(base).with_extension("idx")
}

/// An index is saved for about each third record.
fn often() -> StorageOptions {
    StorageOptions { sizes: Sizes { index_every: 3_000, ..Sizes::default() }, ..options() }
}

/// A node with records of three terms in five segments, the last of which is half full.
fn node_with_terms() -> (Node, Vec<Record>) {
    let mut node = Node::open(SimEnv::new(1), often()).unwrap();
    node.vote(9);
    let expected: Vec<Record> = (0..50).map(|index| record(1 + index / 20, index, 1_000)).collect();
    expected.iter().for_each(|one| node.append(vec![one.clone()]));
    (node, expected)
}

fn check(disk: &SimDisk, expected: &[Record], context: &str) -> Node {
    let mut node = open_copy(disk, often()).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(node.all(), expected, "{context}");
    for one in expected {
        let read = node.log.read(one.id.index, one.id.index.next(), 1).unwrap();
        assert_eq!(read, std::slice::from_ref(one), "{context}");
    }
    assert_eq!(node.last(), expected.last().map(|last| last.id), "{context}");
    let next = expected.len() as u64;
    node.append(records(9, next..next + 3, 800));
    assert_eq!(node.crash(Crash::LoseUnsynced).unwrap().last(), Some(id(9, next + 2)), "{context}");
    open_copy(disk, often()).unwrap()
}

#[test]
fn sealed_segments_are_not_scanned_and_the_newest_one_only_behind_its_index() {
    let (node, expected) = node_with_terms();
    node.sim.disk.crash(Crash::LoseUnsynced);
    let report = check(&node.sim.disk, &expected, "with indexes").report;
    assert_eq!((report.segments, report.indexed_segments), (5, 5));
    assert!(report.records <= 3, "{report:?}");
    assert_eq!(report.mark, Some(LogIndex(48)), "the mark of the last record");
}

#[test]
fn a_missing_index_costs_a_scan_and_is_written_anew() {
    let (node, expected) = node_with_terms();
    node.sim.disk.crash(Crash::LoseUnsynced);
    let whole = node.sim.disk.fork();
    forget_indexes(&node.sim.disk);
    let reopened = check(&node.sim.disk, &expected, "without indexes");
    assert_eq!((reopened.report.indexed_segments, reopened.report.records), (0, 50));
    for base in [0, 11, 22, 33] {
        assert_eq!(reopened.sim.disk.content(&sidecar(base)), whole.content(&sidecar(base)), "segment {base}");
    }
    let again = reopened.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!((again.report.indexed_segments, again.report.records), (5, 0));
}

#[test]
fn a_damaged_index_is_noticed_at_any_bit() {
    let (node, expected) = node_with_terms();
    node.sim.disk.crash(Crash::LoseUnsynced);
    for base in [11, 44] {
        for byte in 0..node.sim.disk.content(&sidecar(base)).len() {
            let damaged = node.sim.disk.fork();
            damaged.flip_bit(&sidecar(base), byte, u8::try_from(byte % 8).unwrap());
            let report = check(&damaged, &expected, &format!("segment {base} byte {byte}")).report;
            assert_eq!(report.indexed_segments, 4, "segment {base} byte {byte}");
        }
    }
}

#[test]
fn an_index_of_another_segment_or_an_earlier_life_is_not_taken() {
    let (node, expected) = node_with_terms();
    node.sim.disk.crash(Crash::LoseUnsynced);
    let content = node.sim.disk.content(&sidecar(11));
    // A whole index with one field of another: salt, base, end, end offset.
    for field in [8, 16, 24] {
        let damaged = node.sim.disk.fork();
        let mut other = content.clone();
        other[20 + field] ^= 1;
        let crc_at = other.len() - 4;
        let crc = crc32c::crc32c(&other[..crc_at]);
        other[crc_at..].copy_from_slice(&crc.to_le_bytes());
        damaged.overwrite(&sidecar(11), 0, &other);
        let report = check(&damaged, &expected, &format!("field {field}")).report;
        assert_eq!(report.indexed_segments, 4, "field {field}");
    }
}

#[test]
pub(crate) fn an_index_never_outlives_a_truncation_of_its_segment() {
    for keep in [10, 30, 43, 44, 46, 49] {
        let (mut node, _) = node_with_terms();
        node.truncate_after(keep);
        let mut expected: Vec<Record> = (0..=keep).map(|index| record(1 + index / 20, index, 1_000)).collect();
        let node = node.crash(Crash::LoseUnsynced).unwrap();
        assert_eq!(node.all(), expected, "kept up to {keep}");
        // What follows lies where the removed entries lay, but is cut differently.
        let (mut node, _) = node_with_terms();
        node.truncate_after(keep);
        let added: Vec<Record> = (keep + 1..keep + 20).map(|index| record(5, index, 990)).collect();
        added.iter().for_each(|one| node.append(vec![one.clone()]));
        expected.extend(added);
        node.sim.disk.crash(Crash::LoseUnsynced);
        check(&node.sim.disk, &expected, &format!("cut after {keep} and written again"));
    }
}

#[test]
fn what_an_index_covers_is_checked_when_it_is_read() {
    // Recovery relies on it; whoever reads gets the damage told, never the bytes.
    let (node, _) = node_with_terms();
    node.sim.disk.flip_bit(&segment(11), 4_096 + 3 * 1_056 + 500, 0);
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    let read = |index| node.log.read(LogIndex(index), LogIndex(index + 1), usize::MAX);
    assert_eq!(read(13).unwrap(), records(1, 13..14, 1_000));
    let error = read(14).unwrap_err().to_string();
    assert!(error.contains("index 14") && error.contains("payload"), "{error}");
}

#[test]
fn an_index_that_cannot_be_saved_is_no_failure() {
    use raft_log::env::sim::{Fault, FaultKind};
    let (mut node, mut expected) = node_with_terms();
    for kind in [FaultKind::Write, FaultKind::Sync, FaultKind::Open] {
        let hits = node.sim.disk.fault_hits();
        node.sim.disk.order(Fault { times: 3, ..Fault::once(kind, ".idx") });
        let from = expected.len() as u64;
        expected.extend(records(5, from..from + 20, 1_000));
        expected[usize::try_from(from).unwrap()..].iter().for_each(|one| node.append(vec![one.clone()]));
        assert!(node.sim.disk.fault_hits() > hits, "{kind:?}");
    }
    assert_eq!(node.all(), expected);
    node.sim.disk.crash(Crash::LoseUnsynced);
    check(&node.sim.disk, &expected, "some indexes are missing");
}

#[test]
fn an_index_of_no_segment_is_removed() {
    let (mut node, _) = node_with_terms();
    let stray = node.sim.disk.content(&sidecar(11));
    node.purge_to(id(2, 30));
    node.release_below(30);
    assert_eq!(node.files(".idx").len(), 3);
    let path = Path::new(DIR).join("log/00000000000000000011.idx");
    let file = raft_log::env::Disk::open(&*node.sim.disk, &path, raft_log::env::OpenMode::CreateNew).unwrap();
    file.write_all_at(&stray, 0).unwrap();
    let node = node.crash(Crash::KeepAll).unwrap();
    assert_eq!(node.files(".idx").len(), 3);
}
