use raft_log::StateMachine as _;

use super::harness::{INVISIBLE_MS, Rig, attempts, offsets, receive, tags};
use crate::model::{ConsumerGroupId, GroupSettings, TopicId, TopicSettings, TopicType};
use crate::state::apply_limits::{DEAD_LETTERS_MAX, EXPIRED_MAX};
use crate::state::{Origin, Settled};
use raft_log::types::Term;

fn rig(attempts: u16) -> (Rig, TopicId, ConsumerGroupId) {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    let group = rig.group("g", GroupSettings { max_attempts: attempts, ..GroupSettings::default() });
    (rig, topic, group)
}

#[test]
fn after_the_last_attempt_a_message_is_a_dead_letter_at_the_same_position() {
    let (mut rig, topic, group) = rig(2);
    rig.publish(topic, &[(0, "", ""), (0, "red", "")]);
    let first = rig.receive(group, topic, 2);
    rig.ack(group, topic, &first[..1]);
    rig.pass(INVISIBLE_MS);
    let last = rig.receive(group, topic, 2);
    assert_eq!(attempts(&last), [2]);
    assert!(rig.reader().topic("%DLQ%g").is_none());
    rig.pass(INVISIBLE_MS);
    let dead = rig.reader().topic("%DLQ%g").unwrap();
    assert_eq!(dead.settings, TopicSettings { queues: 1, kind: TopicType::Normal });
    assert!(rig.receive(group, topic, 9).is_empty());
    assert_eq!(rig.reader().progress(group, topic).unwrap()[0].offset.0, 2);
    assert_eq!(rig.ack(group, topic, &last), [Settled::Expired], "too late, and said so");
    let reviewer = rig.group("reviewer", GroupSettings::default());
    let mut request = receive(reviewer, dead.id, 9);
    request.filter = tags(&["red"]);
    let letters = rig.received(&request).picks;
    assert_eq!((offsets(&letters), attempts(&letters)), (vec![0], vec![1]));
    assert_eq!(letters[0].position, last[0].position);
    let origin = Origin { topic, queue: last[0].queue, offset: last[0].offset };
    assert_eq!(letters[0].origin, Some(origin));
    assert_eq!(rig.message(&letters[0]).body, "0/red/");
    assert_eq!(rig.reader().counters().dead_lettered, 1);
}

#[test]
fn giving_back_the_last_attempt_dead_letters_at_once() {
    let (mut rig, topic, group) = rig(1);
    rig.publish(topic, &[(0, "", "")]);
    let picks = rig.receive(group, topic, 1);
    rig.change(group, topic, &picks[0], 0).unwrap();
    assert!(rig.reader().topic("%DLQ%g").is_some());
    assert!(rig.receive(group, topic, 1).is_empty());
}

#[test]
fn one_tick_dead_letters_a_bounded_number_and_the_next_ones_the_rest() {
    let (mut rig, topic, group) = rig(1);
    let many = DEAD_LETTERS_MAX * 2 + 100;
    rig.publish(topic, &vec![(0, "", ""); many]);
    while !rig.receive(group, topic, 1000).is_empty() {}
    rig.pass(INVISIBLE_MS);
    let letters = |rig: &Rig| {
        let dead = rig.reader().topic("%DLQ%g").unwrap().id;
        rig.reader().queue_bounds(dead).unwrap()[0].next.0
    };
    assert_eq!(letters(&rig), DEAD_LETTERS_MAX as u64);
    assert_eq!(rig.reader().next_due().unwrap().0, rig.now, "more is due");
    let before = rig.digest();
    rig.crash_and_replay();
    assert_eq!((rig.digest(), letters(&rig)), (before, DEAD_LETTERS_MAX as u64));
    rig.pass(0);
    rig.pass(0);
    assert_eq!(letters(&rig), many as u64);
    assert_eq!(rig.reader().next_due(), None);
}

/// However many deliveries end at the same moment, each tick ends so many, and a node that was restarted in between agrees.
#[test]
fn one_tick_ends_a_bounded_number_of_deliveries() {
    let (mut rig, topic, group) = rig(9);
    let many = EXPIRED_MAX + 100;
    rig.publish(topic, &vec![(0, "", ""); many]);
    while !rig.receive(group, topic, 1000).is_empty() {}
    rig.pass(INVISIBLE_MS);
    let redeliveries = |rig: &Rig| rig.reader().ready(group, topic).redeliveries;
    assert_eq!(redeliveries(&rig), EXPIRED_MAX as u64);
    let (digest, due) = (rig.digest(), rig.reader().next_due());
    rig.crash_and_replay();
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    assert_eq!((rig.digest(), rig.reader().next_due(), redeliveries(&rig)), (digest, due, EXPIRED_MAX as u64));
    rig.pass(0);
    assert_eq!(redeliveries(&rig), many as u64);
}

#[test]
fn what_a_consumer_gives_up_is_a_dead_letter_once_whatever_attempts_are_left() {
    let (mut rig, topic, group) = rig(9);
    rig.publish(topic, &[(0, "", ""), (0, "", "")]);
    let picks = rig.receive(group, topic, 2);
    assert_eq!(rig.give_up(group, topic, &picks[0]), Settled::Done);
    assert_eq!(rig.give_up(group, topic, &picks[0]), Settled::Already);
    let dead = rig.reader().topic("%DLQ%g").unwrap().id;
    let letters = |rig: &Rig| rig.reader().queue_bounds(dead).unwrap()[0].next.0;
    assert_eq!(letters(&rig), 1, "once");
    rig.ack(group, topic, &picks[1..]);
    rig.pass(INVISIBLE_MS);
    assert_eq!(rig.give_up(group, topic, &picks[0]), Settled::Expired);
    assert!(rig.receive(group, topic, 9).is_empty(), "and not delivered again");
    let before = rig.digest();
    rig.crash_and_replay();
    assert_eq!((rig.digest(), letters(&rig)), (before, 1));
    let stranger = rig.group("stranger", GroupSettings::default());
    assert_eq!(rig.give_up(stranger, topic, &picks[1]), Settled::Unknown);
}

#[test]
fn giving_up_lets_the_next_of_the_message_group_go_on() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Fifo);
    let group = rig.group("g", GroupSettings { fifo: true, ..GroupSettings::default() });
    rig.publish(topic, &[(0, "", "a"), (0, "", "a")]);
    let head = rig.receive(group, topic, 1);
    assert!(rig.receive(group, topic, 1).is_empty());
    rig.give_up(group, topic, &head[0]);
    assert_eq!(offsets(&rig.receive(group, topic, 1)), [1]);
}

#[tokio::test]
async fn dead_letters_are_tallied_by_the_term_in_which_they_happened() {
    let (mut rig, topic, group) = rig(1);
    rig.publish(topic, &[(0, "", ""); 3]);
    let picks = rig.receive(group, topic, 3);
    rig.give_up(group, topic, &picks[0]);
    rig.pass(INVISIBLE_MS);
    let reader = rig.reader();
    assert_eq!(reader.dead_letter_tally().taken().await, [((Term(1), topic, group), 3)].into());
}

#[test]
fn dead_letters_may_themselves_fail() {
    let (mut rig, topic, group) = rig(1);
    rig.publish(topic, &[(0, "", "")]);
    rig.receive(group, topic, 1);
    rig.pass(INVISIBLE_MS);
    let dead = rig.reader().topic("%DLQ%g").unwrap().id;
    let reviewer = rig.group("r", GroupSettings { max_attempts: 1, ..GroupSettings::default() });
    rig.receive(reviewer, dead, 1);
    rig.pass(INVISIBLE_MS);
    let second = rig.reader().topic("%DLQ%r").unwrap().id;
    let last = rig.group("last", GroupSettings::default());
    let picks = rig.receive(last, second, 1);
    assert_eq!(picks[0].origin.unwrap().topic, topic, "the origin is where it was published");
}
