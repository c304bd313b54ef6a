//! Settings of a group that change while messages are under way.

use raft_log::StateMachine;

use super::harness::{INVISIBLE_MS, Rig, attempts, offsets};
use crate::model::{ConsumerGroupId, GroupChange, GroupSettings, TopicId, TopicType};
use crate::state::apply_limits::DEAD_LETTERS_MAX;

const FIFO: GroupChange = GroupChange { fifo: Some(true), max_attempts: None, start: None };
const UNORDERED: GroupChange = GroupChange { fifo: Some(false), max_attempts: None, start: None };

fn rig(settings: GroupSettings) -> (Rig, TopicId, ConsumerGroupId) {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Fifo);
    let group = rig.group("g", settings);
    (rig, topic, group)
}

fn attempts_max(max_attempts: u16) -> GroupChange {
    GroupChange { max_attempts: Some(max_attempts), ..GroupChange::default() }
}

fn letters(rig: &Rig) -> u64 {
    rig.reader().topic("%DLQ%g").map_or(0, |dead| rig.reader().queue_bounds(dead.id).unwrap()[0].next.0)
}

#[test]
fn a_group_that_becomes_ordered_waits_for_what_is_under_way_and_keeps_the_order_from_then_on() {
    let (mut rig, topic, group) = rig(GroupSettings::default());
    rig.publish(topic, &[(0, "", "a"); 5]);
    let first = rig.receive(group, topic, 1);
    let second = rig.receive(group, topic, 1);
    assert_eq!(
        (offsets(&first), offsets(&second)),
        (vec![0], vec![1]),
        "without order two consumers hold one message group"
    );
    rig.update("g", FIFO);
    assert!(rig.receive(group, topic, 9).is_empty());
    rig.ack(group, topic, &first);
    assert!(rig.receive(group, topic, 9).is_empty(), "the second is still with a consumer");
    rig.change(group, topic, &second[0], 0).unwrap();
    assert_eq!(offsets(&rig.receive(group, topic, 2)), [1, 2]);
    assert!(rig.receive(group, topic, 9).is_empty());
}

#[test]
fn a_group_that_gives_up_order_delivers_what_was_held_back() {
    let (mut rig, topic, group) = rig(GroupSettings { fifo: true, ..GroupSettings::default() });
    rig.publish(topic, &[(0, "", "a"), (0, "", "a"), (0, "", ""), (0, "", "a")]);
    assert_eq!(offsets(&rig.receive(group, topic, 1)), [0]);
    assert_eq!(offsets(&rig.receive(group, topic, 9)), [2], "the others of the message group wait");
    rig.update("g", UNORDERED);
    assert!(rig.reader().ready(group, topic).any());
    let before = rig.digest();
    rig.crash_and_replay();
    assert_eq!(rig.digest(), before);
    assert_eq!(offsets(&rig.receive(group, topic, 9)), [1, 3]);
    rig.pass(INVISIBLE_MS);
    assert_eq!(offsets(&rig.receive(group, topic, 9)), [0, 1, 2, 3], "the longest due first");
}

#[test]
fn other_attempts_count_for_deliveries_that_end_from_then_on() {
    let (mut rig, topic, group) = rig(GroupSettings { max_attempts: 2, ..GroupSettings::default() });
    rig.publish(topic, &[(0, "", ""), (0, "", "")]);
    let picks = rig.receive(group, topic, 2);
    rig.change(group, topic, &picks[0], 0).unwrap();
    let last = rig.receive(group, topic, 1);
    assert_eq!((offsets(&last), attempts(&last)), (vec![0], vec![2]));
    rig.update("g", attempts_max(3));
    rig.pass(INVISIBLE_MS);
    assert_eq!(letters(&rig), 0, "it has one attempt more");
    assert_eq!(attempts(&rig.receive(group, topic, 2)), [3, 2]);
    rig.pass(INVISIBLE_MS);
    assert_eq!(letters(&rig), 1);
    rig.update("g", attempts_max(1));
    rig.pass(0);
    assert_eq!(letters(&rig), 1, "the other was to be delivered again before the change");
    assert_eq!(attempts(&rig.receive(group, topic, 2)), [3]);
    rig.pass(INVISIBLE_MS);
    assert_eq!(letters(&rig), 2);
}

/// A node that starts again from its records, and one that ran on, agree on what becomes of messages whose time passed
/// before the change.
#[test]
fn a_change_between_a_deadline_and_a_restart_changes_nothing_that_was_decided() {
    let (mut rig, topic, group) = rig(GroupSettings { max_attempts: 1, ..GroupSettings::default() });
    let many = DEAD_LETTERS_MAX * 2 + 500;
    rig.publish(topic, &vec![(0, "", ""); many]);
    while !rig.receive(group, topic, 1000).is_empty() {}
    rig.pass(INVISIBLE_MS);
    let left = many as u64 - letters(&rig);
    assert!(left > 0, "some are to be dead-lettered yet");
    rig.update("g", attempts_max(9));
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    while letters(&rig) < many as u64 {
        let before = letters(&rig);
        rig.pass(0);
        assert!(letters(&rig) > before, "each goes to the dead letters, as was decided when its delivery ended");
    }
}
