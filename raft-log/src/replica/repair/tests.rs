//! Ranges of damage, of any length and at any place, are repaired; and only by what is proven to be this log's.

use std::sync::Arc;

use super::rig::{Rig, entries, options};
use crate::env::sim::{SeededRng, SimEnv};
use crate::storage::repair::{Folder, Lost, RangeRequest};
use crate::storage::survey::{BadRecord, Hole};
use crate::types::{LogId, LogIndex, Term};

#[test]
fn damage_of_any_length_at_any_place_is_repaired() {
    // hazards 8
    let rig = Rig::new();
    let segments: Vec<_> =
        rig.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "seg")).collect();
    assert!(segments.len() >= 4, "{segments:?}");
    let rng = SeededRng::new(11);
    let below = |limit: usize| usize::try_from(rng.below(limit as u64)).unwrap();
    let mut repaired = 0;
    for case in 0..400 {
        let disk = rig.stopped.fork();
        // Not the newest one: what is at its end may be a torn tail.
        for _ in 0..1 + below(3) {
            let (path, bytes) = &segments[below(segments.len() - 1)];
            let at = 4_096 + below(bytes - 4_096);
            let length = (1 + below(3_000)).min(bytes - at);
            let garbage: Vec<u8> = (0..length).map(|_| u8::try_from(rng.below(256)).unwrap()).collect();
            disk.overwrite(path, at, &garbage);
        }
        let survivor = rig.survive(disk).unwrap_or_else(|error| panic!("case {case}: {error}"));
        assert_eq!(survivor.difference(), None, "case {case}");
        repaired += survivor.repaired;
    }
    assert!(repaired > 300, "{repaired}");
}

#[test]
fn a_repaired_log_is_whole() {
    let rig = Rig::new();
    let (path, _) = rig.files().into_iter().find(|(path, _)| path.extension().is_some_and(|end| end == "seg")).unwrap();
    let disk = rig.stopped.fork();
    disk.overwrite(&path, 4_500, &[0xff; 1_500]);
    let survivor = rig.survive(disk).unwrap();
    assert!(survivor.repaired > 0);
    let report = survivor.stop();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

fn lost(first: u64, end: u64, anchor: (u64, u64)) -> Lost {
    let anchor = LogId { term: Term(anchor.0), index: LogIndex(anchor.1) };
    let bad = BadRecord::PayloadCrc;
    let hole = Hole {
        offset: 4_096,
        end_offset: 8_192,
        first: LogIndex(first),
        end: LogIndex(end),
        anchor: Some(anchor),
        bad,
    };
    Lost { base: LogIndex(0), hole, before: None }
}

#[test]
fn nothing_is_taken_without_the_anchor() {
    let rig = Rig::new();
    let peer = rig.peer();
    let ask = |request: RangeRequest| peer.matching(request, usize::MAX).unwrap();
    // Entry 20 is of term 2.
    let held = ask(lost(17, 20, (2, 20)).request(LogIndex(17)).unwrap()).unwrap();
    assert_eq!(held.len(), 3);
    assert_eq!(ask(lost(17, 20, (1, 20)).request(LogIndex(17)).unwrap()), None, "another history");
    assert_eq!(ask(lost(17, 90, (4, 90)).request(LogIndex(17)).unwrap()), None, "beyond its log");
    let mut foreign = held.clone();
    foreign[1].id.term = Term(3);
    assert!(lost(17, 20, (2, 20)).may_continue(&[], &held));
    assert!(!lost(17, 20, (2, 20)).may_continue(&[], &foreign), "a term that does not fit");
    assert!(!lost(17, 19, (2, 20)).may_continue(&[], &held), "more than was lost");
    assert!(!lost(17, 20, (2, 20)).may_continue(&held[..1], &held), "what is there already");
}

// Nodes under repair serve each other, and nobody else may know.
#[test]
fn a_node_under_repair_gives_nothing_without_the_anchor_either() {
    let rig = Rig::new();
    let sim = SimEnv { disk: Arc::new(rig.stopped.fork()), ..SimEnv::new(4) };
    let folder = Folder::open(&sim.env(), &options(8 << 10)).unwrap();
    let ask = |anchor| folder.matching(lost(17, 20, anchor).request(LogIndex(17)).unwrap(), usize::MAX).unwrap();
    // Entry 20 is of term 2.
    assert_eq!(ask((2, 20)), Some(entries()[17..20].to_vec()));
    assert_eq!(ask((1, 20)), None, "another history");
    assert_eq!(ask((4, 90)), None, "beyond its log");
}
