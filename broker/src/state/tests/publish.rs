use raft_log::types::UnixMillis;

use super::harness::{Rig, publish, tags};
use crate::model::{ConsumerGroupId, GroupSettings, QueueId, QueueOffset, TopicId, TopicType};
use crate::state::{Outcome, PublishRefusal};

/// hazards 29: queues are numbered from 0 in each broker group; offsets are dense in each queue.
#[test]
fn each_queue_counts_its_own_offsets_from_zero() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 3, TopicType::Normal);
    let stored = rig.publish(topic, &[(0, "", ""), (2, "", ""), (0, "", "")]);
    let places: Vec<_> = stored.iter().map(|at| (at.queue.0, at.offset.0, at.repeated)).collect();
    assert_eq!(places, [(0, 0, false), (2, 0, false), (0, 1, false)]);
    assert_eq!(rig.publish(topic, &[(0, "", "")])[0].offset, QueueOffset(2));
}

#[test]
fn a_refused_publish_stores_nothing_of_it() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 2, TopicType::Normal);
    assert_eq!(rig.try_publish(TopicId(9), None, &[(0, "", "")]), Err(PublishRefusal::UnknownTopic));
    let refused = rig.try_publish(topic, None, &[(0, "new", ""), (2, "", "")]);
    assert_eq!(refused, Err(PublishRefusal::UnknownQueue(QueueId(2))));
    assert_eq!(rig.publish(topic, &[(0, "", "")])[0].offset, QueueOffset(0));
}

#[test]
fn commands_of_one_entry_share_blocks_and_keep_their_order() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    let group = rig.group("g", GroupSettings::default());
    let outcomes = rig.apply(&[
        publish(topic, None, &[(0, "a", "")]),
        publish(topic, None, &[(0, "b", ""), (0, "c", "")]),
        super::harness::receive(group, topic, 10).encode(),
        publish(topic, None, &[(0, "d", "")]),
    ]);
    let Outcome::Received(received) = &outcomes[2] else { panic!("a receive") };
    let bodies: Vec<_> = received.picks.iter().map(|pick| rig.message(pick).body).collect();
    assert_eq!(bodies, ["0/a/", "0/b/", "0/c/"]);
    let rest = rig.receive(group, topic, 10);
    assert_eq!(rig.message(&rest[0]).body, "0/d/");
}

#[test]
fn offsets_are_found_by_number_and_by_time() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    for second in 0..10 {
        rig.now = 10_000 + second * 1000;
        rig.publish(topic, &[(0, "", ""), (0, "", "")]);
    }
    let reader = rig.reader();
    let at = |time| reader.offset_at(topic, QueueId(0), UnixMillis(time)).unwrap().unwrap().0;
    // The state's clock began later than the first stamps of this test and never goes back.
    assert_eq!(reader.clock(), UnixMillis(1_000_000));
    assert_eq!((at(0), at(1_000_000), at(1_000_001)), (0, 0, 20));
    let located = reader.locate(topic, QueueId(0), QueueOffset(3), 4).unwrap();
    assert_eq!(located.iter().map(|at| at.offset.0).collect::<Vec<_>>(), [3, 4, 5, 6]);
    assert!(reader.locate(topic, QueueId(0), QueueOffset(20), 4).unwrap().is_empty());
    assert!(reader.locate(topic, QueueId(7), QueueOffset(0), 4).unwrap().is_empty());
}

#[test]
fn stamps_find_the_first_message_not_before_a_time() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    for second in 1..=10 {
        rig.now = 2_000_000 + second * 1000;
        rig.publish(topic, &[(0, "", ""), (0, "", "")]);
    }
    let at = |time| rig.reader().offset_at(topic, QueueId(0), UnixMillis(time)).unwrap().unwrap().0;
    assert_eq!((at(2_001_000), at(2_001_001), at(2_009_999), at(2_010_001)), (0, 2, 18, 20));
}

#[tokio::test]
async fn a_publish_signals_its_topic_and_readiness() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 2, TopicType::Normal);
    let group = rig.group("g", GroupSettings::default());
    let reader = rig.reader();
    assert_eq!(reader.events().changed().await, [topic].into());
    assert!(reader.ready(group, topic).unsubscribed);
    assert!(rig.receive(group, topic, 1).is_empty());
    assert!(!reader.ready(group, topic).any());
    rig.publish(topic, &[(0, "", ""), (1, "", ""), (1, "", "")]);
    assert_eq!(reader.events().changed().await, [topic].into());
    assert_eq!(reader.ready(group, topic).fresh, 3);
    assert_eq!(reader.subscriptions(group), [topic]);
    assert_eq!(reader.subscriptions(ConsumerGroupId(77)), []);
    let mut filtered = super::harness::receive(group, topic, 1);
    filtered.filter = tags(&["none"]);
    rig.received(&filtered);
    assert!(!reader.ready(group, topic).any());
}
