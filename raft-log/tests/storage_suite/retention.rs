//! Giving up the beginning of the log: released segments, and a log that begins anew behind a checkpoint.

use crate::support::*;
use raft_log::env::sim::{Crash, SimEnv};
use raft_log::storage::StorageError;
use raft_log::types::{LogId, LogIndex};

#[test]
fn released_segments_are_gone_and_the_rest_stays() {
    let mut node = five_segments();
    node.purge_to(id(1, 40));
    node.release_below(30);
    assert_eq!(node.bases(), [22, 33, 44], "only whole segments below the index go");
    assert_eq!(node.files(".seg").len(), 3);
    let below = node.log.read(LogIndex(21), LogIndex(23), usize::MAX).unwrap_err();
    assert!(below.to_string().contains("below the first kept entry 22"), "{below}");
    assert_eq!(node.read_from(22), records(1, 22..55, 1_000));
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!((node.bases(), node.last()), (vec![22, 33, 44], Some(id(1, 54))));
    assert_eq!(node.log.bounds().purged, Some(id(1, 40)));
    assert_eq!(node.read_from(22), records(1, 22..55, 1_000));
}

#[test]
fn what_is_not_purged_and_the_newest_segment_are_never_released() {
    let mut node = five_segments();
    node.release_below(100);
    assert_eq!(node.bases().len(), 5, "nothing is purged");
    node.purge_to(id(1, 31));
    node.release_below(100);
    assert_eq!(node.bases(), [22, 33, 44]);
    node.purge_to(id(1, 54));
    node.release_below(100);
    assert_eq!(node.bases(), [44]);
    node.append(vec![record(1, 55, 1_000)]);
    assert_eq!(node.read_from(44).len(), 12);
}

#[test]
fn segments_tell_where_they_lie() {
    let mut node = Node::new();
    (0..PER_SEGMENT * 2).for_each(|index| node.append(vec![record(1, index, 1_000)]));
    let expected = |base: u64, sealed| (LogIndex(base), LogIndex(base + 11), 16 << 10, sealed);
    let told = |node: &Node| {
        let segments = node.log.segments().into_iter();
        segments.map(|one| (one.base, one.end, one.bytes, one.sealed)).collect::<Vec<_>>()
    };
    assert_eq!(told(&node), [expected(0, true), expected(11, false)]);
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(told(&node), [expected(0, true), expected(11, false)]);
}

#[test]
fn a_log_begins_anew_behind_a_checkpoint() {
    // hazards 1, 25: the one way to purge what the log does not hold
    let mut node = five_segments();
    assert!(matches!(node.log.purge_to(id(4, 200), node.done()), Err(StorageError::PurgeRefused { .. })));
    node.queue(vec![record(1, 55, 1_000)]);
    node.log.begin_after(id(4, 200), node.done()).unwrap();
    assert_eq!(node.last(), Some(id(4, 200)), "at once");
    node.queue(records(4, 201..203, 1_000));
    assert_eq!(node.durable(), Some(54), "not before it is written");
    node.step_ok();
    assert_eq!((node.durable(), node.bases(), node.files(".seg").len()), (Some(202), vec![201], 1));
    assert!(node.log.read(LogIndex(54), LogIndex(55), 1).unwrap_err().to_string().contains("first kept entry 201"));

    let mut node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!(node.log.bounds().purged, Some(id(4, 200)));
    assert_eq!(node.read_from(201), records(4, 201..203, 1_000));
    let refused = node.log.truncate_after(Some(LogIndex(199)), node.done());
    assert!(matches!(refused, Err(StorageError::TruncateRefused { .. })));
    node.truncate_after(200);
    let node = node.crash(Crash::LoseUnsynced).unwrap();
    assert_eq!((node.last(), node.bases().len()), (Some(id(4, 200)), 1));
}

#[test]
fn a_log_that_reaches_so_far_does_not_begin_anew() {
    let node = five_segments();
    for begin in [id(1, 54), id(2, 30), id(0, 60)] {
        let refused = node.log.begin_after(begin, node.done());
        assert!(matches!(refused, Err(StorageError::BeginRefused { .. })), "{begin}");
    }
    assert_eq!(node.last(), Some(id(1, 54)));
}

#[test]
fn an_empty_log_can_begin_behind_a_checkpoint_and_wait_for_entries() {
    let mut node = Node::new();
    node.begin_after(id(3, 70));
    for _ in 0..2 {
        node.stepper.idle();
        node = node.crash(Crash::LoseUnsynced).unwrap();
        assert_eq!((node.last(), node.durable()), (Some(id(3, 70)), Some(70)));
    }
    assert!(matches!(node.log.append(records(2, 71..72, 10), node.done()), Err(StorageError::TermFell { .. })));
    node.append(records(3, 71..72, 10));
    assert_eq!(node.crash(Crash::LoseUnsynced).unwrap().read_from(71), records(3, 71..72, 10));
}

/// What the script was told, and what it asked for without an answer.
#[derive(Default)]
struct Told {
    acknowledged: Option<LogId>,
    purged: Option<LogId>,
    begun: Option<LogId>,
    begin_asked: bool,
}

const CHECKPOINT: u64 = 500;

/// Appends, purges, releases, begins anew and does it all again, until the power goes off.
fn script(node: &mut Node, told: &mut Told) -> Option<()> {
    let answered = |node: &mut Node| {
        node.stepper.step();
        node.outcomes.lock().unwrap().drain(..).all(|outcome| outcome.is_ok()).then_some(())
    };
    node.log.save_hard_state(voted(9), node.done()).ok()?;
    answered(node)?;
    for (term, from) in [(1, 0), (2, CHECKPOINT + 1)] {
        for round in 0..3 {
            let first = from + round * 9;
            for index in first..first + 9 {
                node.log.append(vec![record(term, index, 3_000)], node.done()).ok()?;
                answered(node)?;
                told.acknowledged = Some(id(term, index));
            }
            let purge = id(term, first + 7);
            node.log.purge_to(purge, node.done()).ok()?;
            answered(node)?;
            told.purged = Some(purge);
            node.log.release_below(LogIndex(first + 7), node.done()).ok()?;
            answered(node)?;
        }
        if term == 1 {
            told.begin_asked = true;
            node.log.begin_after(id(2, CHECKPOINT), node.done()).ok()?;
            answered(node)?;
            told.begun = Some(id(2, CHECKPOINT));
        }
    }
    Some(())
}

/// The log that opened after the power loss is one of those that may be.
fn check(mut node: Node, told: &Told, context: &str) {
    let bounds = node.log.bounds();
    let begun = bounds.purged >= Some(id(2, CHECKPOINT));
    assert!(begun || told.begun.is_none(), "{context}: begun anew, but {bounds:?}");
    assert!(!begun || told.begin_asked, "{context}");
    assert!(bounds.purged >= told.purged && bounds.purged >= told.begun, "{context}: {bounds:?}");
    assert!(bounds.last >= told.acknowledged, "{context}: {bounds:?} of {:?}", told.acknowledged);
    let (term, begin) = if begun { (2, CHECKPOINT + 1) } else { (1, 0) };
    let first = node.bases().first().copied().unwrap_or(begin);
    assert!(first >= begin && first <= bounds.purged.map_or(0, |purged| purged.index.0 + 1), "{context}");
    let last = bounds.last.map_or(0, |last| last.index.0 + 1);
    assert_eq!(node.read_from(first), records(term, first..last, 3_000), "{context}");
    assert_eq!(node.files(".seg").len(), node.bases().len(), "{context}: nothing is left over");
    node.vote(9);
    node.append(vec![record(9, last, 100)]);
    let node = node.crash(Crash::LoseUnsynced).unwrap_or_else(|error| panic!("{context}: second open: {error}"));
    assert_eq!(node.last(), Some(id(9, last)), "{context}");
}

#[test]
fn a_power_loss_at_any_step_of_a_release_or_a_new_begin_keeps_what_was_told() {
    // hazards 5, 24, 25
    let changes = {
        let mut node = Node::open(SimEnv::new(5), options()).unwrap();
        script(&mut node, &mut Told::default()).unwrap();
        node.sim.disk.changes()
    };
    assert!(changes > 200, "the script does enough: {changes}");
    let crashes = [Crash::LoseUnsynced, Crash::KeepAll, Crash::Torn { seed: 1 }, Crash::Torn { seed: 2 }];
    for at in 0..changes {
        for crash in crashes {
            let context = format!("power off after change {at}, {crash:?}");
            let sim = SimEnv::new(5);
            sim.disk.power_off_after(at);
            let mut told = Told::default();
            if let Ok(mut node) = Node::open(sim.clone(), options()) {
                script(&mut node, &mut told);
            }
            sim.disk.crash(crash);
            let reopened = SimEnv { rng: SimEnv::new(at).rng, ..sim };
            let node = Node::open(reopened, options()).unwrap_or_else(|error| panic!("{context}: {error}"));
            check(node, &told, &context);
        }
    }
}
