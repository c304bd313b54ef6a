//! What is in a stopped node's files, and what is wrong with them: said truly, and nothing changed.

use crate::support::*;
use raft_log::env::Env;
use raft_log::env::sim::{Crash, SimDisk, SimEnv};
use raft_log::inspect::{Dumped, Finding, InspectError, Report, Severity, dump, verify};
use raft_log::storage::{Log, StorageOptions};
use raft_log::types::{LogIndex, Term};
use std::path::Path;
use std::sync::Arc;

const HEADER: usize = 4_096;
/// A record of 1,000 bytes; 11 fit into a segment.
const STRIDE: usize = 1_056;

/// Sixty records of 1,000 bytes in terms 1 and 2, over six segments, marked and stopped.
fn stopped() -> Arc<SimDisk> {
    let mut node = Node::new();
    (0..60).for_each(|index| node.append(vec![record(1 + index / 30, index, 1_000)]));
    node.stop_marked()
}

fn env_of(disk: &SimDisk) -> SimEnv {
    SimEnv { disk: Arc::new(disk.fork()), ..SimEnv::new(2) }
}

fn report_of(disk: &SimDisk) -> Report {
    let sim = env_of(disk);
    let before = sim.disk.changes();
    let report = verify(&sim.env(), Path::new(DIR)).unwrap();
    assert_eq!(sim.disk.changes(), before, "nothing is changed");
    report
}

/// The only finding.
fn finding_of(disk: &SimDisk) -> Finding {
    let report = report_of(disk);
    let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
    finding.clone()
}

#[test]
fn a_whole_log_is_summed_up() {
    let report = report_of(&stopped());
    assert!(report.is_whole() && report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.entries(), report.last()), (60, Some(id(2, 59))));
    assert_eq!(report.hard_state, Some(voted(9)));
    let bases: Vec<LogIndex> = report.segments.iter().map(|segment| segment.base).collect();
    assert_eq!(report.manifest.unwrap().segments, bases);
    let third = &report.segments[2];
    assert_eq!((third.base, third.end, third.entries, third.payload_bytes), (LogIndex(22), LogIndex(33), 11, 11_000));
    assert_eq!(third.terms, [(Term(1), LogIndex(22)), (Term(2), LogIndex(30))]);
    assert_eq!(report.segments.last().unwrap().mark_end, LogIndex(60));
}

#[test]
fn each_damaged_record_is_found_and_those_behind_it_are_read() {
    let disk = stopped();
    disk.flip_bit(&segment(11), HEADER + 3 * STRIDE + 500, 1);
    disk.flip_bit(&segment(11), HEADER + 7 * STRIDE + 8, 1);
    disk.overwrite(&segment(33), HEADER + 2 * STRIDE, &[0; 2 * STRIDE]);
    disk.overwrite(&segment(44), HEADER + 9 * STRIDE, &[0xff; 2 * STRIDE]);
    let report = report_of(&disk);
    assert!(!report.is_whole());
    assert_eq!(report.entries(), 54);
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (finding.file.clone(), finding.offset.unwrap(), finding.entries.unwrap()))
        .collect();
    let at = |base, nth: usize, first, end| {
        (segment(base), (HEADER + nth * STRIDE) as u64, (LogIndex(first), LogIndex(end)))
    };
    assert_eq!(found, [at(11, 3, 14, 15), at(11, 7, 18, 19), at(33, 2, 35, 37), at(44, 9, 53, 55)]);
    assert!(report.findings.iter().all(|finding| finding.severity == Severity::Damage));
    let text = report.findings[2].to_string();
    assert!(text.contains("33.seg at offset 6208, entries 35 to 36: zeroes"), "{text}");
}

#[test]
fn a_torn_tail_is_a_note_and_the_same_below_the_mark_is_damage() {
    // hazards 3
    let mut node = Node::new();
    (0..10).for_each(|index| node.append(vec![record(1, index, 100)]));
    node.sim.disk.crash(Crash::LoseUnsynced);
    let disk = node.sim.disk.clone();
    let last = HEADER + 9 * 160;
    disk.flip_bit(&segment(0), last + 70, 0);
    let finding = finding_of(&disk);
    assert_eq!((finding.severity, finding.offset), (Severity::Note, Some(last as u64)));
    assert!(report_of(&disk).is_whole());
    disk.flip_bit(&segment(0), last - 160 + 70, 0);
    let finding = report_of(&disk).findings.remove(0);
    assert_eq!((finding.severity, finding.entries), (Severity::Damage, Some((LogIndex(8), LogIndex(9)))));
}

#[test]
fn every_flipped_bit_of_the_small_files_is_found() {
    let disk = stopped();
    for name in ["manifest", "hard-state"] {
        let file = Path::new(DIR).join(name);
        let bytes = if name == "manifest" { disk.content(&file).len() } else { 52 };
        for byte in 0..bytes {
            let damaged = disk.fork();
            damaged.flip_bit(&file, byte, 5);
            let report = report_of(&damaged);
            let damage: Vec<_> = report.findings.iter().filter(|f| f.severity == Severity::Damage).collect();
            assert!(damage.iter().any(|finding| finding.file == file), "{name} byte {byte}: {damage:?}");
        }
    }
}

#[test]
fn missing_cut_and_swapped_segments_are_named() {
    let disk = stopped();
    let missing = disk.fork();
    missing.delete(&segment(22));
    assert!(finding_of(&missing).to_string().contains("00000000000000000022.seg: it is missing"));
    let cut = disk.fork();
    cut.truncate(&segment(22), 9_000);
    assert!(report_of(&cut).findings[0].to_string().contains("truncated: 9000 bytes instead of 16384"));
    let swapped = disk.fork();
    swapped.overwrite(&segment(22), 0, &disk.content(&segment(33)));
    assert!(finding_of(&swapped).to_string().contains("begins with index 33"));
}

#[test]
fn a_dump_shows_the_records_of_a_range_and_the_holes_in_it() {
    let disk = stopped();
    disk.flip_bit(&segment(22), HEADER + 5 * STRIDE, 3);
    let mut shown = Vec::new();
    let report = dump(&env_of(&disk).env(), Path::new(DIR), LogIndex(25)..LogIndex(30), &mut |record| match record {
        Dumped::Entry { id, payload_bytes, payload_crc, .. } => {
            assert_eq!((payload_bytes, payload_crc), (1_000, crc32c::crc32c(&payload(id.term.0, id.index.0, 1_000))));
            shown.push(format!("{id}"));
        }
        Dumped::Mark { .. } => shown.push("mark".to_owned()),
        Dumped::Hole { first, end, .. } => shown.push(format!("lost {first}..{end}")),
    })
    .unwrap();
    assert_eq!(shown, ["1.25", "1.26", "lost 27..28", "1.28", "1.29"]);
    assert_eq!(report.segments.len(), 1, "only what holds the range is read");
    assert!(!report.is_whole());
}

#[test]
fn a_running_node_and_an_empty_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(Env::real(), StorageOptions::new(dir.path(), GROUP)).unwrap();
    let refused = verify(&Env::real(), dir.path());
    assert!(matches!(refused, Err(InspectError::Locked { .. })), "{refused:?}");
    log.shutdown();
    assert!(verify(&Env::real(), dir.path()).unwrap().is_whole());
    let refused = verify(&SimEnv::new(3).env(), Path::new("/nothing"));
    assert!(matches!(refused, Err(InspectError::NoLog { .. })), "{refused:?}");
}
