use bytes::Bytes;
use raft_log::types::{LogId, LogIndex, NodeId, Term};
use raft_log::{ApplyEntry, ApplyKind, FlushNeed, Membership, StateMachine};

use super::harness::{INVISIBLE_MS, Rig, producer};
use crate::model::{GroupSettings, TopicType};
use crate::state::{OpenStateError, State, tick};

/// Some of everything, in 40 entries.
fn busy(rig: &mut Rig) {
    let topic = rig.topic("t", 3, TopicType::Fifo);
    let group = rig.group("g", GroupSettings { fifo: true, max_attempts: 2, ..GroupSettings::default() });
    let other = rig.group("h", GroupSettings::default());
    for round in 0..6 {
        rig.publish(topic, &[(0, "red", "a"), (1, "", "b"), (0, "blue", "a"), (2, "", "")]);
        rig.try_publish(topic, producer(1, 1, round), &[(1, "", "c")]).unwrap();
        let picks = rig.receive(group, topic, 3);
        rig.ack(group, topic, &picks[..1]);
        let picks = rig.receive(other, topic, 4);
        rig.ack(other, topic, &picks[..2]);
        rig.change(other, topic, &picks[2], 0).unwrap();
        rig.pass(INVISIBLE_MS / 2);
    }
}

fn replay(entries: &[ApplyEntry], sizes: impl Iterator<Item = usize>) -> (Vec<Bytes>, u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut state = State::open(folder.path()).unwrap();
    let mut responses = Vec::new();
    let mut left = entries;
    for size in sizes {
        let (now, later) = left.split_at(size.min(left.len()));
        responses.extend(state.apply(now.to_vec()).unwrap());
        left = later;
        if left.is_empty() {
            break;
        }
    }
    (responses, state.reader().digest().unwrap().digest)
}

/// hazards 17: equal entries give equal answers and digests, however they are grouped into calls.
#[test]
fn two_states_that_apply_the_same_entries_are_equal() {
    let mut rig = Rig::new();
    busy(&mut rig);
    let (one_by_one, digest) = replay(&rig.log, std::iter::repeat(1));
    assert_eq!(digest, rig.digest());
    for size in [2, 7, usize::MAX] {
        let (responses, digest) = replay(&rig.log, std::iter::repeat(size));
        assert_eq!((responses, digest), (one_by_one.clone(), rig.digest()), "{size} entries a call");
    }
}

#[test]
fn a_difference_in_one_entry_shows_in_the_digest() {
    let mut rig = Rig::new();
    busy(&mut rig);
    let mut other = rig.log.clone();
    other[5].id.term = Term(2);
    assert_ne!(replay(&other, std::iter::repeat(1)).1, rig.digest());
}

/// hazards 17: ids and answers are the same; one of the two states has another text in its store.
#[test]
fn a_difference_in_one_stored_text_shows_in_the_digest() {
    let digest_with = |tag| {
        let mut rig = Rig::new();
        let topic = rig.topic("t", 1, TopicType::Normal);
        rig.publish(topic, &[(0, tag, "")]);
        rig.digest()
    };
    assert_ne!(digest_with("red"), digest_with("rot"));
    assert_eq!(digest_with("red"), digest_with("red"));
}

/// hazards 18: applied index and data are one write. Whatever a flush persisted, replay from its applied index ends in
/// the same state; without a flush, nothing of it is there (hazards 1).
#[test]
fn a_crash_after_a_flush_at_any_entry_replays_to_the_same_state() {
    let mut rig = Rig::new();
    busy(&mut rig);
    for flush_at in 0..rig.log.len() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(folder.path()).unwrap();
        for (at, entry) in rig.log.iter().enumerate() {
            state.apply(vec![entry.clone()]).unwrap();
            if at == flush_at {
                state.flush().unwrap();
            }
        }
        drop(state);
        let mut state = State::open(folder.path()).unwrap();
        let applied = state.applied().unwrap().id;
        assert_eq!(applied.index.0, flush_at as u64, "what was not flushed is not there");
        assert_eq!(state.reader().digest().unwrap().applied, applied);
        state.apply(rig.log[flush_at + 1..].to_vec()).unwrap();
        assert_eq!(state.reader().digest(), rig.reader().digest(), "flushed at {flush_at}");
        assert_eq!(state.reader().next_due(), rig.reader().next_due());
    }
}

/// hazards 1: closing persists nothing by itself.
#[test]
fn without_a_flush_a_reopened_state_is_empty() {
    let mut rig = Rig::new();
    busy(&mut rig);
    let digest = rig.digest();
    rig.state = None;
    assert_eq!(State::open(rig.folder()).unwrap().applied(), None);
    rig.crash_and_replay();
    assert_eq!(rig.digest(), digest);
}

/// hazards 1: a state ahead of the log is dropped, durably, and everything is replayed.
#[test]
fn a_reset_state_is_empty_for_good_and_can_replay() {
    let mut rig = Rig::new();
    busy(&mut rig);
    rig.state().flush().unwrap();
    let digest = rig.digest();
    rig.state().reset().unwrap();
    assert_eq!(rig.state().applied(), None);
    assert!(rig.reader().topics().is_empty());
    rig.state = None;
    assert_eq!(State::open(rig.folder()).unwrap().applied(), None);
    rig.crash_and_replay();
    assert_eq!(rig.digest(), digest);
}

/// hazards 18: the membership is kept in the same write.
#[test]
fn membership_and_blank_entries_move_the_applied_point() {
    let mut rig = Rig::new();
    let members = Membership { configs: vec![[NodeId(1)].into()], ..Membership::default() };
    let id = |index| LogId { term: Term(1), index: LogIndex(index) };
    let entries = vec![
        ApplyEntry { id: id(0), kind: ApplyKind::Membership(members.clone()) },
        ApplyEntry { id: id(1), kind: ApplyKind::Blank },
    ];
    assert_eq!(rig.state().apply(entries).unwrap(), [Bytes::new(), Bytes::new()]);
    rig.state().flush().unwrap();
    let point = rig.state().applied().unwrap();
    assert_eq!((point.id, point.membership.clone()), (id(1), Some((id(0), members.encode()))));
    rig.state = None;
    assert_eq!(State::open(rig.folder()).unwrap().applied(), Some(point));
}

#[test]
fn digests_can_be_compared_at_earlier_indexes() {
    let mut rig = Rig::new();
    let mut known = Vec::new();
    for _ in 0..5 {
        rig.one(&tick());
        known.push(rig.reader().digest().unwrap());
    }
    for digest in known {
        assert_eq!(rig.reader().digest_at(digest.applied.index), Some(digest));
    }
    assert_eq!(rig.reader().digest_at(LogIndex(5)), None);
}

/// hazards 30: a newer format is refused by name and left as it is.
#[test]
fn a_newer_or_foreign_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(State::open(folder.path()).unwrap());
    let write = |value: &[u8]| {
        let db = rocksdb::DB::open_default(folder.path()).unwrap();
        db.put(b"F", value).unwrap();
        db.flush().unwrap();
    };
    write(b"TERCETST\x63\0\0\0");
    let error = State::open(folder.path()).unwrap_err();
    assert!(matches!(&error, OpenStateError::Version { found: 99, .. }), "{error}");
    write(b"OTHER");
    assert!(matches!(State::open(folder.path()), Err(OpenStateError::Damaged { .. })));
}

/// State hazards 20: who comes back with an older program stops before it reads, or replaces, anything.
#[test]
fn a_store_or_a_checkpoint_of_an_unknown_level_is_refused_and_both_levels_are_named() {
    let mut rig = Rig::new();
    busy(&mut rig);
    let parent = tempfile::tempdir().unwrap();
    let checkpoint = parent.path().join("checkpoint");
    std::fs::create_dir(&checkpoint).unwrap();
    rig.state().checkpoint(&checkpoint).unwrap();
    {
        let db = rocksdb::DB::open_default(&checkpoint).unwrap();
        db.put(b"H", 9_u32.to_le_bytes()).unwrap();
        db.flush().unwrap();
    }
    let named = |text: String| text.contains("at feature level 9,") && text.contains("knows levels up to 1");
    let before = rig.reader().digest();
    let error = rig.state().prepare_restore()(&checkpoint).unwrap_err();
    assert!(named(error.to_string()), "{error}");
    let error = rig.state().restore(&checkpoint).unwrap_err();
    assert!(named(error.to_string()), "{error}");
    assert_eq!(rig.reader().digest(), before, "nothing was replaced");
    rig.one(&tick());
    let error = State::open(&checkpoint).unwrap_err();
    assert!(matches!(error, OpenStateError::Level { found: 9, .. }) && named(error.to_string()), "{error}");
}

#[test]
fn a_damaged_record_is_named_and_not_skipped() {
    let mut rig = Rig::new();
    busy(&mut rig);
    rig.state().flush().unwrap();
    rig.state = None;
    {
        let db = rocksdb::DB::open_default(rig.folder()).unwrap();
        db.put(b"T\0\0\0\0\0\0\0\0", b"junk").unwrap();
        db.flush().unwrap();
    }
    let error = State::open(rig.folder()).unwrap_err();
    assert!(
        matches!(&error, OpenStateError::Damaged { .. }) && error.to_string().contains("540000000000000000"),
        "{error}"
    );
}

// Hazards 22: small messages are applied again more slowly than their bytes say.
#[test]
fn a_flush_is_wanted_after_many_small_messages() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    let (queue, group) = (crate::model::QueueId(0), crate::model::MessageGroupKey::NONE);
    let publish = || {
        let mut builder = crate::state::PublishBuilder::new(topic, None);
        for _ in 0..1_000 {
            builder.push(&crate::state::NewMessage { queue, group, tag: "", meta: b"", body: b"" });
        }
        builder.finish()
    };
    for _ in 0..499 {
        rig.one(&publish());
    }
    assert_eq!(rig.state().flush_need(), FlushNeed::None);
    rig.one(&publish());
    assert_eq!(rig.state().flush_need(), FlushNeed::Due);
    rig.state().flush().unwrap();
    assert_eq!(rig.state().flush_need(), FlushNeed::None);
}

#[test]
fn a_flush_is_wanted_after_enough_log() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    assert_eq!(rig.state().flush_need(), FlushNeed::None);
    let body = vec![0; 4 << 20];
    for _ in 0..64 {
        let mut builder = crate::state::PublishBuilder::new(topic, None);
        let queue = crate::model::QueueId(0);
        let group = crate::model::MessageGroupKey::NONE;
        builder.push(&crate::state::NewMessage { queue, group, tag: "", meta: b"", body: &body });
        rig.one(&builder.finish());
        rig.log.last_mut().unwrap().kind = ApplyKind::Blank;
    }
    // hazards 22: 256 MiB of log.
    assert_eq!(rig.state().flush_need(), FlushNeed::Due);
    rig.state().flush().unwrap();
    assert_eq!(rig.state().flush_need(), FlushNeed::None);
}
