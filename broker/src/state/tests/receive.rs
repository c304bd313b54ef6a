use raft_log::StateMachine as _;

use super::harness::{INVISIBLE_MS, Rig, attempts, offsets, places, receive, tags};
use crate::model::{ConsumerGroupId, GroupSettings, QueueId, TopicId, TopicType};
use crate::state::apply_limits::SCAN_MAX;
use crate::state::{Outcome, UnknownName};

fn rig() -> (Rig, TopicId, ConsumerGroupId) {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 2, TopicType::Normal);
    let group = rig.group("g", GroupSettings::default());
    (rig, topic, group)
}

#[test]
fn each_message_goes_to_one_consumer_of_each_group() {
    let (mut rig, topic, group) = rig();
    let other = rig.group("other", GroupSettings::default());
    rig.publish(topic, &[(0, "", ""), (0, "", ""), (1, "", "")]);
    let mut first = rig.receive(group, topic, 2);
    first.extend(rig.receive(group, topic, 2));
    let mut all = places(&first);
    all.sort_unstable();
    assert_eq!(all, [(0, 0), (0, 1), (1, 0)]);
    assert!(rig.receive(group, topic, 2).is_empty());
    assert_eq!(rig.receive(other, topic, 32).len(), 3);
    let first = first.iter().find(|pick| pick.queue == QueueId(1)).unwrap();
    assert_eq!(rig.message(first).body, "1//");
}

#[test]
fn a_message_comes_again_on_time_and_not_before() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "")]);
    let first = rig.receive(group, topic, 1);
    assert_eq!(attempts(&first), [1]);
    assert_eq!(rig.reader().next_due().unwrap().0, rig.now + INVISIBLE_MS);
    rig.pass(INVISIBLE_MS - 1);
    assert!(rig.receive(group, topic, 1).is_empty());
    rig.pass(1);
    let again = rig.receive(group, topic, 1);
    assert_eq!((offsets(&again), attempts(&again)), (vec![0], vec![2]));
    assert_ne!(again[0].nonce, first[0].nonce);
}

#[test]
fn what_is_due_comes_before_what_is_fresh() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "")]);
    rig.receive(group, topic, 1);
    rig.publish(topic, &[(0, "", ""), (1, "", "")]);
    rig.pass(INVISIBLE_MS);
    assert_eq!(places(&rig.receive(group, topic, 1)), [(0, 0)]);
}

/// hazards 20: the index knows the tag; what the filter does not want is consumed for the group.
#[test]
fn unwanted_tags_are_consumed() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "red", ""), (0, "blue", ""), (0, "", ""), (0, "red", "")]);
    let mut request = receive(group, topic, 32);
    request.filter = tags(&["red", "never-used"]);
    let red = rig.received(&request).picks;
    assert_eq!(offsets(&red), [0, 3]);
    assert!(rig.receive(group, topic, 32).is_empty());
    rig.ack(group, topic, &red);
    assert_eq!(rig.reader().progress(group, topic).unwrap()[0].offset.0, 4);
}

/// hazards 20: "Aa" and "BB" are equal under the hash of 32 bits that the reference keeps in its index.
#[test]
fn tags_that_other_brokers_take_for_one_are_told_apart() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "Aa", ""), (0, "BB", "")]);
    let mut request = receive(group, topic, 32);
    request.filter = tags(&["BB"]);
    assert_eq!(offsets(&rig.received(&request).picks), [1]);
}

/// hazards 20: a filter goes by the index alone. This state was opened from its own store, and no entry with a body has
/// been near it since.
#[test]
fn a_filter_works_where_no_body_can_be_read() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "red", ""), (0, "blue", ""), (0, "", "")]);
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    let applied = rig.state().applied().map(|point| point.id);
    assert_eq!(applied, rig.log.last().map(|entry| entry.id), "all is in the store, so nothing was replayed");
    let mut request = receive(group, topic, 32);
    request.filter = tags(&["blue"]);
    assert_eq!(offsets(&rig.received(&request).picks), [1]);
}

/// A tag for each order is common: no tag is refused because of those before it.
#[test]
fn a_topic_sees_any_number_of_tags() {
    let (mut rig, topic, group) = rig();
    let names: Vec<String> = (0..70_000).map(|number| format!("order-{number}")).collect();
    for some in names.chunks(4000) {
        let messages: Vec<_> = some.iter().map(|tag| (0, tag.as_str(), "")).collect();
        rig.publish(topic, &messages);
    }
    let mut request = receive(group, topic, 32);
    request.filter = tags(&["order-3", "order-69999"]);
    let mut found = Vec::new();
    loop {
        let received = rig.received(&request);
        found.extend(offsets(&received.picks));
        if !received.more {
            break;
        }
    }
    assert_eq!(found, [3, 69_999]);
}

#[test]
fn a_tag_that_appears_later_matches_then() {
    let (mut rig, topic, group) = rig();
    let mut request = receive(group, topic, 32);
    request.filter = tags(&["later"]);
    assert!(rig.received(&request).picks.is_empty());
    rig.publish(topic, &[(0, "later", "")]);
    assert_eq!(rig.received(&request).picks.len(), 1);
}

#[test]
fn one_receive_scans_a_bounded_number_and_says_so() {
    let (mut rig, topic, group) = rig();
    for _ in 0..3 {
        rig.publish(topic, &vec![(0, "other", ""); SCAN_MAX / 2]);
    }
    rig.publish(topic, &[(0, "red", "")]);
    let mut request = receive(group, topic, 32);
    request.filter = tags(&["red"]);
    let first = rig.received(&request);
    assert!(first.picks.is_empty() && first.more);
    let second = rig.received(&request);
    assert_eq!((second.picks.len(), second.more), (1, false));
}

#[test]
fn a_receive_is_bounded_in_bytes_but_gives_at_least_one() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", ""); 4]);
    let mut request = receive(group, topic, 32);
    request.bytes_max = 1;
    assert_eq!(offsets(&rig.received(&request).picks), [0]);
    request.bytes_max = 2 * (32 + 4 + 3);
    assert_eq!(offsets(&rig.received(&request).picks), [1, 2]);
}

#[test]
fn a_receive_may_ask_for_one_queue() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", ""), (1, "", "")]);
    let mut request = receive(group, topic, 32);
    request.queue = Some(QueueId(1));
    assert_eq!(places(&rig.received(&request).picks), [(1, 0)]);
    request.queue = Some(QueueId(2));
    assert_eq!(rig.one(&request.encode()), Outcome::Unknown(UnknownName::Queue));
}

#[test]
fn unknown_names_are_typed() {
    let (mut rig, topic, group) = rig();
    let unknown = rig.one(&receive(group, TopicId(9), 1).encode());
    assert_eq!(unknown, Outcome::Unknown(UnknownName::Topic));
    let unknown = rig.one(&receive(ConsumerGroupId(9), topic, 1).encode());
    assert_eq!(unknown, Outcome::Unknown(UnknownName::Group));
}
