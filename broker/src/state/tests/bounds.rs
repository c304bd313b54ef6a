//! What groups may hold at once is bounded, and at the bound nothing is lost.

use super::harness::{Rig, receive};
use crate::model::{ConsumerGroupId, GroupSettings, TopicId, TopicType};
use crate::state::Pick;
use crate::state::apply_limits::{PENDING_MAX, PENDING_PER_TOPIC_MAX};

fn rig(topics: usize) -> (Rig, Vec<TopicId>, ConsumerGroupId) {
    let mut rig = Rig::new();
    let topics: Vec<TopicId> = (0..topics).map(|at| rig.topic(&format!("t{at}"), 2, TopicType::Normal)).collect();
    let group = rig.group("g", GroupSettings::default());
    for topic in &topics {
        for _ in 0..PENDING_PER_TOPIC_MAX / 1000 {
            rig.publish(*topic, &vec![(0, "", ""); 1000]);
        }
        rig.publish(*topic, &[(1, "", ""); 10]);
    }
    (rig, topics, group)
}

/// Receives until nothing comes any more.
fn take(rig: &mut Rig, group: ConsumerGroupId, topic: TopicId) -> Vec<Pick> {
    let mut all = Vec::new();
    loop {
        let mut request = receive(group, topic, 1000);
        request.invisible_ms = 3_600_000;
        let received = rig.received(&request);
        if received.picks.is_empty() {
            return all;
        }
        all.extend(received.picks);
    }
}

#[tokio::test]
async fn a_group_holds_so_much_of_a_topic_and_an_acknowledgement_makes_room() {
    let (mut rig, topics, group) = rig(1);
    let held = take(&mut rig, group, topics[0]);
    assert_eq!((held.len(), rig.reader().pending()), (PENDING_PER_TOPIC_MAX, PENDING_PER_TOPIC_MAX));
    assert_eq!(rig.reader().ready(group, topics[0]).fresh, 0, "a poll waits");
    let reader = rig.reader();
    reader.events().changed().await;
    rig.ack(group, topics[0], &held[..2]);
    assert_eq!(reader.events().changed().await, [topics[0]].into());
    assert_eq!(take(&mut rig, group, topics[0]).len(), 2);
}

#[tokio::test]
async fn all_groups_together_hold_so_much_and_whoever_waits_hears_of_room() {
    let (mut rig, topics, group) = rig(2);
    let first = take(&mut rig, group, topics[0]);
    let second = take(&mut rig, group, topics[1]);
    assert_eq!(first.len() + second.len(), PENDING_MAX);
    assert_eq!(rig.reader().ready(group, topics[1]).fresh, 0);
    let reader = rig.reader();
    reader.events().changed().await;
    rig.ack(group, topics[0], &first[..50]);
    assert!(reader.events().changed().await.contains(&topics[1]), "of the other topic, too");
    assert!(!take(&mut rig, group, topics[1]).is_empty());
}
