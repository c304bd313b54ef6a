use std::collections::BTreeSet;

use raft_log::StateMachine;

use super::harness::{Rig, handle, producer, receive};
use crate::model::{ConsumerGroupId, GroupName, GroupSettings, TopicId, TopicType};
use crate::state::apply_limits::BURIED_MAX;
use crate::state::{Ack, ChangeInvisible, CreateGroup, Created, Deleted, Outcome, PublishRefusal, UnknownName};

const MINUTE: u64 = 60_000;

fn automatic(rig: &mut Rig, name: &str) -> Created<ConsumerGroupId, GroupSettings> {
    let name = GroupName::parse(name).unwrap();
    let create = CreateGroup { name, settings: GroupSettings::default(), automatic: true };
    match rig.one(&create.encode()) {
        Outcome::Group(created) => created,
        other => panic!("a creation answers {other:?}"),
    }
}

/// The kinds of records that the store holds.
fn kinds(rig: &mut Rig) -> String {
    rig.state().flush().unwrap();
    rig.state = None;
    let kinds: BTreeSet<char> = {
        let db = rocksdb::DB::open_default(rig.folder()).unwrap();
        db.iterator(rocksdb::IteratorMode::Start).map(|item| char::from(item.unwrap().0[0])).collect()
    };
    rig.crash_and_replay();
    kinds.into_iter().collect()
}

/// A topic with messages, a group that holds some of them, a producer, and dead letters of the group.
fn busy() -> (Rig, TopicId, ConsumerGroupId) {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 2, TopicType::Normal);
    let group = rig.group("g", GroupSettings { max_attempts: 1, ..GroupSettings::default() });
    rig.publish(topic, &vec![(0, "tag", ""); 10]);
    rig.try_publish(topic, producer(7, 0, 0), &[(1, "", "")]).unwrap();
    assert_eq!(rig.receive(group, topic, 2).len(), 2);
    rig.pass(20_000);
    assert!(rig.reader().topic("%DLQ%g").is_some());
    assert_eq!(rig.receive(group, topic, 5).len(), 5);
    (rig, topic, group)
}

#[test]
fn a_deleted_topic_is_gone_at_once_and_its_name_is_free() {
    let (mut rig, topic, group) = busy();
    let picks = rig.receive(group, topic, 1);
    assert_eq!(rig.delete_topic(topic), Deleted::Done);
    assert_eq!(rig.delete_topic(topic), Deleted::Unknown);
    assert!(rig.reader().topic("t").is_none());
    assert_eq!(rig.try_publish(topic, None, &[(0, "", "")]), Err(PublishRefusal::UnknownTopic));
    assert_eq!(rig.one(&receive(group, topic, 1).encode()), Outcome::Unknown(UnknownName::Topic));
    let entry = handle(&picks[0]);
    let ack = Ack { group, topic, entries: vec![entry] };
    assert_eq!(rig.one(&ack.encode()), Outcome::Unknown(UnknownName::Topic));
    let change = ChangeInvisible { group, topic, entry, invisible_ms: 1, suspend: false };
    assert_eq!(rig.one(&change.encode()), Outcome::Unknown(UnknownName::Topic));
    assert!(rig.reader().ready(group, topic).any(), "a poll that waits finds out");
    let anew = rig.topic("t", 1, TopicType::Fifo);
    assert!(anew > topic, "numbers are not used again");
    // The producer that published to the old one has published nothing to this one.
    assert_eq!(rig.try_publish(anew, producer(7, 0, 0), &[(0, "", "")]).unwrap()[0].offset.0, 0);
    assert_eq!(rig.receive(group, anew, 10).len(), 1);
}

#[test]
fn a_number_is_not_used_again_after_a_restart_either() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    let group = rig.group("g", GroupSettings::default());
    rig.delete_topic(topic);
    rig.delete_group(group, false, 0);
    rig.erase_all(10);
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    assert_eq!(rig.topic("t", 1, TopicType::Normal), TopicId(topic.0 + 1));
    assert_eq!(rig.group("g", GroupSettings::default()), ConsumerGroupId(group.0 + 1));
}

/// In steps of any size, with a restart after each, and nothing is left in the end.
#[test]
fn what_is_deleted_is_erased_step_by_step() {
    for records in [1, 3, 1000] {
        let (mut rig, topic, group) = busy();
        rig.delete_topic(topic);
        rig.delete_group(group, true, 0);
        let mut steps = 0;
        while rig.reader().erasing() {
            rig.erase(records);
            rig.state().flush().unwrap();
            let digest = rig.digest();
            rig.crash_and_replay();
            assert_eq!(rig.digest(), digest);
            steps += 1;
        }
        assert!(if records == 1 { steps >= 10 } else { steps < 10 }, "{steps} steps of {records}");
        // Applied point, cluster, next numbers, format, level, stretches of the log, readable start, names of deleted groups.
        assert_eq!(kinds(&mut rig), "ABCFHKRY");
        assert_eq!(rig.reader().next_due(), None);
    }
}

/// State that nobody finds any more makes no new state.
#[test]
fn what_is_deleted_leaves_no_dead_letters() {
    for of_topic in [true, false] {
        let (mut rig, topic, group) = busy();
        let letters = rig.reader().topic("%DLQ%g").unwrap().id;
        let count = |rig: &Rig| rig.reader().queue_bounds(letters).unwrap()[0].next.0;
        let before = count(&rig);
        let deleted = if of_topic { rig.delete_topic(topic) } else { rig.delete_group(group, false, 0) };
        assert_eq!(deleted, Deleted::Done);
        rig.pass(20_000);
        rig.pass(20_000);
        assert_eq!(count(&rig), before);
        rig.erase_all(1000);
        assert_eq!(rig.reader().next_due(), None);
    }
}

#[test]
fn dead_letters_go_with_their_group_if_asked_to() {
    let (mut rig, _, group) = busy();
    assert_eq!(rig.delete_group(group, true, 0), Deleted::Done);
    assert!(rig.reader().topic("%DLQ%g").is_none());
    let (mut rig, topic, group) = busy();
    assert_eq!(rig.delete_group(group, false, 0), Deleted::Done);
    let letters = rig.reader().topic("%DLQ%g").unwrap().id;
    assert_eq!(rig.delete_topic(letters), Deleted::Done);
    rig.publish(topic, &[(0, "", "")]);
}

/// A consumer that goes on polling for a deleted group does not get everything again.
#[test]
fn a_deleted_group_is_made_anew_by_a_person_only() {
    let (mut rig, topic, group) = busy();
    rig.delete_group(group, false, 1000);
    assert_eq!(rig.one(&receive(group, topic, 1).encode()), Outcome::Unknown(UnknownName::Group));
    assert_eq!(automatic(&mut rig, "g"), Created::Buried);
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    rig.pass(999);
    assert_eq!(automatic(&mut rig, "g"), Created::Buried);
    rig.pass(1);
    assert!(matches!(automatic(&mut rig, "g"), Created::New(_)));

    let (mut rig, topic, group) = busy();
    rig.delete_group(group, false, 1000);
    let anew = rig.group("g", GroupSettings::default());
    assert!(anew > group);
    assert_eq!(automatic(&mut rig, "g"), Created::Same(anew));
    assert_eq!(rig.receive(anew, topic, 32).len(), 11, "it begins at the first message");
    rig.delete_group(anew, false, 0);
    assert!(matches!(automatic(&mut rig, "g"), Created::New(_)));
}

#[test]
fn remembered_names_are_bounded_and_make_room_when_their_time_is_over() {
    let mut rig = Rig::new();
    for number in 0..BURIED_MAX {
        let group = rig.group(&format!("g{number}"), GroupSettings::default());
        assert_eq!(rig.delete_group(group, false, MINUTE), Deleted::Done);
    }
    let one_more = rig.group("one-more", GroupSettings::default());
    assert_eq!(rig.delete_group(one_more, false, MINUTE), Deleted::Refused);
    assert!(rig.reader().group("one-more").is_some());
    rig.pass(MINUTE);
    assert_eq!(rig.delete_group(one_more, false, MINUTE), Deleted::Done);
}
