//! Flushes and checkpoints that are finished while the state goes on (hazards 1, 37).

use std::path::{Path, PathBuf};

use raft_log::{ApplyEntry, FlushNeed, StateMachine};

use super::harness::Rig;
use crate::model::TopicType;
use crate::state::{FlushTriggers, State};

/// Enough entries that a flush of the first half takes longer than nothing.
fn entries() -> (Rig, Vec<ApplyEntry>) {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 2, TopicType::Normal);
    let messages: Vec<(u32, &str, &str)> = (0..50).map(|number| (number % 2, "tag", "")).collect();
    for _ in 0..60 {
        rig.publish(topic, &messages);
    }
    let log = rig.log.clone();
    (rig, log)
}

fn digest_at(rig: &Rig, entry: &ApplyEntry) -> Option<crate::state::StateDigest> {
    rig.reader().digest_at(entry.id.index)
}

fn folder(parent: &tempfile::TempDir, name: &str) -> PathBuf {
    let folder = parent.path().join(name);
    std::fs::create_dir(&folder).unwrap();
    folder
}

#[test]
fn what_is_applied_after_a_flush_began_is_not_part_of_it() {
    let (rig, log) = entries();
    for at in [1, 7, 30, 59] {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(folder.path()).unwrap();
        state.apply(log[..at].to_vec()).unwrap();
        let finish = state.begin_flush().unwrap();
        state.apply(log[at..at + 1].to_vec()).unwrap();
        let finished = std::thread::spawn(finish);
        for entry in &log[at + 1..] {
            state.apply(vec![entry.clone()]).unwrap();
        }
        finished.join().unwrap().unwrap();
        assert_eq!(state.reader().counters().flushes, 1);
        drop(state);
        let state = State::open(folder.path()).unwrap();
        assert_eq!(state.applied().unwrap().id, log[at - 1].id, "not more, not less");
        assert_eq!(state.reader().digest(), digest_at(&rig, &log[at - 1]));
    }
}

// A process that ends while a flush is under way: whole or not at all.
#[test]
fn a_flush_that_was_not_finished_leaves_a_state_that_was_once_there() {
    let (rig, log) = entries();
    let folder = tempfile::tempdir().unwrap();
    let mut state = State::open(folder.path()).unwrap();
    state.apply(log[..5].to_vec()).unwrap();
    state.flush().unwrap();
    state.apply(log[5..20].to_vec()).unwrap();
    let unfinished = state.begin_flush().unwrap();
    state.apply(log[20..].to_vec()).unwrap();
    drop((unfinished, state));
    let state = State::open(folder.path()).unwrap();
    let found = state.applied().unwrap().id.index.0 as usize;
    assert!(found == 4 || found == 19, "{found}");
    assert_eq!(state.reader().digest(), digest_at(&rig, &log[found]));
}

#[test]
fn a_checkpoint_holds_exactly_what_was_applied_when_it_began() {
    let (rig, log) = entries();
    let parent = tempfile::tempdir().unwrap();
    let mut state = State::open(&folder(&parent, "state")).unwrap();
    for (number, at) in [3, 20, 41].into_iter().enumerate() {
        let from = state.applied().map_or(0, |point| point.id.index.0 as usize + 1);
        state.apply(log[from..at].to_vec()).unwrap();
        let finish = state.begin_checkpoint().unwrap();
        state.apply(log[at..at + 5].to_vec()).unwrap();
        let into = folder(&parent, &format!("checkpoint-{number}"));
        let finished = std::thread::spawn({
            let into = into.clone();
            move || finish(&into)
        });
        state.apply(log[at + 5..at + 10].to_vec()).unwrap();
        finished.join().unwrap().unwrap();

        let mut other = State::open(&folder(&parent, &format!("other-{number}"))).unwrap();
        other.restore(&into).unwrap();
        assert_eq!(other.applied().unwrap().id, log[at - 1].id);
        assert_eq!(other.reader().digest(), digest_at(&rig, &log[at - 1]));
        other.apply(log[at..].to_vec()).unwrap();
        assert_eq!(other.reader().digest(), rig.reader().digest());
    }
}

fn checkpoint_of(log: &[ApplyEntry], parent: &tempfile::TempDir, name: &str) -> PathBuf {
    let mut state = State::open(&folder(parent, &format!("state of {name}"))).unwrap();
    state.apply(log.to_vec()).unwrap();
    let into = folder(parent, name);
    state.checkpoint(&into).unwrap();
    into
}

fn contents(folder: &Path) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_restore_is_prepared_while_the_state_is_in_use_and_leaves_the_checkpoint_as_it_is() {
    let (rig, log) = entries();
    let parent = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint_of(&log[..40], &parent, "checkpoint");
    let before = contents(&checkpoint);
    let live = folder(&parent, "live");
    let mut state = State::open(&live).unwrap();
    state.apply(log[..5].to_vec()).unwrap();
    state.prepare_restore()(&checkpoint).unwrap();
    state.apply(log[5..10].to_vec()).unwrap();
    state.flush().unwrap();
    assert_eq!(state.reader().digest(), digest_at(&rig, &log[9]), "nothing has changed yet");
    state.restore(&checkpoint).unwrap();
    assert_eq!(state.reader().digest(), digest_at(&rig, &log[39]));
    state.apply(log[40..].to_vec()).unwrap();
    assert_eq!(state.reader().digest(), rig.reader().digest());
    state.flush().unwrap();
    assert!(!live.with_file_name("live.old").exists(), "what was replaced goes with the next flush");
    assert_eq!(contents(&checkpoint), before);
    drop(state);
    assert_eq!(State::open(&live).unwrap().reader().digest(), rig.reader().digest());
}

#[test]
fn what_was_prepared_is_not_taken_for_another_checkpoint() {
    let (rig, log) = entries();
    let parent = tempfile::tempdir().unwrap();
    let (older, newer) = (checkpoint_of(&log[..20], &parent, "older"), checkpoint_of(&log[..40], &parent, "newer"));
    let live = folder(&parent, "live");
    let mut state = State::open(&live).unwrap();
    state.prepare_restore()(&older).unwrap();
    state.restore(&newer).unwrap();
    assert_eq!(state.reader().digest(), digest_at(&rig, &log[39]));
    // Prepared and never restored: gone at the next opening.
    state.prepare_restore()(&older).unwrap();
    drop(state);
    let state = State::open(&live).unwrap();
    assert_eq!(state.reader().digest(), digest_at(&rig, &log[39]));
    assert!(!live.with_file_name("live.new").exists());
}

#[test]
fn a_checkpoint_that_makes_no_state_is_refused_before_anything_is_replaced() {
    let (rig, log) = entries();
    let parent = tempfile::tempdir().unwrap();
    let junk = folder(&parent, "junk");
    std::fs::write(junk.join("CURRENT"), "nonsense").unwrap();
    let mut state = State::open(&folder(&parent, "live")).unwrap();
    state.apply(log[..10].to_vec()).unwrap();
    assert!(state.prepare_restore()(&junk).is_err());
    state.apply(log[10..].to_vec()).unwrap();
    assert_eq!(state.reader().digest(), rig.reader().digest());
}

#[test]
fn what_waits_in_memory_makes_a_flush_due_and_then_overdue() {
    let folder = tempfile::tempdir().unwrap();
    let triggers = FlushTriggers { memory_bytes: 1 << 20, ..FlushTriggers::default() };
    let mut state = State::open_with(folder.path(), triggers).unwrap();
    assert_eq!(state.flush_need(), FlushNeed::None);
    let mut topics = Rig::new();
    let mut needs = vec![state.flush_need()];
    for number in 0..100_000 {
        topics.topic(&format!("topic-{number:08}"), 8, TopicType::Normal);
        state.apply(vec![topics.log.last().unwrap().clone()]).unwrap();
        if needs.last() != Some(&state.flush_need()) {
            needs.push(state.flush_need());
        }
        if state.flush_need() == FlushNeed::Overdue {
            break;
        }
    }
    assert_eq!(needs, [FlushNeed::None, FlushNeed::Due, FlushNeed::Overdue]);
    let finish = state.begin_flush().unwrap();
    assert_eq!(state.flush_need(), FlushNeed::None, "what is being persisted does not count");
    finish().unwrap();
}
