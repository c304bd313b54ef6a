use super::harness::{INVISIBLE_MS, Rig, attempts, handle, offsets, places, receive};
use crate::model::{AttemptKey, ConsumerGroupId, GroupSettings, TopicId, TopicType};
use crate::state::Settled;

fn rig() -> (Rig, TopicId, ConsumerGroupId) {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 2, TopicType::Fifo);
    let group = rig.group("g", GroupSettings { fifo: true, max_attempts: 3, ..GroupSettings::default() });
    (rig, topic, group)
}

#[test]
fn a_message_group_waits_for_its_own_and_the_others_go_on() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "a"), (0, "", "a"), (0, "", "b"), (0, "", "a")]);
    assert_eq!(offsets(&rig.receive(group, topic, 1)), [0]);
    let b = rig.receive(group, topic, 9);
    assert_eq!(offsets(&b), [2], "b goes on while a is under way");
    assert!(rig.receive(group, topic, 9).is_empty());
    assert!(!rig.reader().ready(group, topic).any(), "nothing to be had: no busy polling");
}

#[test]
fn a_batch_takes_several_of_a_group_and_several_queues() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "a"), (0, "", "a"), (1, "", "b"), (0, "", "a")]);
    let mut all = places(&rig.receive(group, topic, 9));
    all.sort_unstable();
    assert_eq!(all, [(0, 0), (0, 1), (0, 2), (1, 0)]);
}

#[test]
fn of_a_batch_only_what_is_not_acknowledged_comes_again_in_order() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "a"); 5]);
    let picks = rig.receive(group, topic, 4);
    assert_eq!(offsets(&picks), [0, 1, 2, 3]);
    rig.ack(group, topic, &[picks[0], picks[2]]);
    assert!(rig.receive(group, topic, 9).is_empty());
    rig.pass(INVISIBLE_MS);
    let again = rig.receive(group, topic, 9);
    assert_eq!((offsets(&again), attempts(&again)), (vec![1, 3, 4], vec![2, 2, 1]));
}

#[test]
fn one_given_back_waits_until_nothing_of_its_group_is_under_way() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "a"); 3]);
    let picks = rig.receive(group, topic, 2);
    rig.change(group, topic, &picks[0], 0).unwrap();
    assert!(rig.receive(group, topic, 9).is_empty(), "the second is still with a consumer");
    rig.ack(group, topic, &picks[1..2]);
    assert_eq!(offsets(&rig.receive(group, topic, 9)), [0, 2]);
}

#[tokio::test]
async fn settling_the_head_frees_the_next_at_once_and_wakes() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "a"); 3]);
    let first = rig.receive(group, topic, 1);
    assert!(rig.receive(group, topic, 1).is_empty());
    let reader = rig.reader();
    reader.events().changed().await;
    rig.ack(group, topic, &first);
    assert_eq!(reader.events().changed().await, [topic].into());
    let second = rig.receive(group, topic, 1);
    assert_eq!(offsets(&second), [1]);
    rig.change(group, topic, &second[0], 0).unwrap();
    assert_eq!(reader.events().changed().await, [topic].into());
    let again = rig.receive(group, topic, 1);
    assert_eq!((offsets(&again), attempts(&again)), (vec![1], vec![2]));
}

#[test]
fn a_back_off_of_the_head_holds_the_rest_of_its_group() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "a"); 2]);
    let first = rig.receive(group, topic, 1);
    rig.change(group, topic, &first[0], 30_000).unwrap();
    rig.pass(29_999);
    assert!(rig.receive(group, topic, 9).is_empty());
    rig.pass(1);
    assert_eq!(offsets(&rig.receive(group, topic, 9)), [0, 1]);
}

#[test]
fn a_dead_letter_lets_the_next_go_on() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "a"); 2]);
    for attempt in 1..=3 {
        let head = rig.receive(group, topic, 1);
        assert_eq!((offsets(&head), attempts(&head)), (vec![0], vec![attempt]));
        rig.change(group, topic, &head[0], 0).unwrap();
    }
    assert_eq!(offsets(&rig.receive(group, topic, 1)), [1]);
    assert!(rig.reader().topic("%DLQ%g").is_some());
}

#[test]
fn a_repeated_attempt_gets_the_same_again_and_all_its_handles_work() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "a"), (1, "", "b"), (0, "", "a")]);
    let mut request = receive(group, topic, 2);
    request.attempt = AttemptKey::of("attempt-1");
    let first = rig.received(&request).picks;
    rig.pass(INVISIBLE_MS / 2);
    let second = rig.received(&request).picks;
    assert_eq!(attempts(&second), [1, 1]);
    let sorted = |picks: &[_]| {
        let mut places = places(picks);
        places.sort_unstable();
        places
    };
    assert_eq!(sorted(&first), sorted(&second));
    assert!(second.iter().all(|pick| pick.deadline.0 == rig.now + INVISIBLE_MS), "with a new deadline");
    rig.pass(INVISIBLE_MS / 2);
    assert_eq!(rig.ack(group, topic, &first[..1]), [Settled::Done], "the old handle acks");
    let left = rig.received(&request).picks;
    assert_eq!(places(&left), places(&first[1..]), "what is acknowledged is not repeated");
    request.attempt = AttemptKey::of("attempt-2");
    let other = rig.received(&request).picks;
    assert!(places(&other).iter().all(|place| !places(&left).contains(place)));
}

#[test]
fn an_attempt_that_holds_nothing_any_more_receives_as_usual() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "a")]);
    let mut request = receive(group, topic, 2);
    request.attempt = AttemptKey::of("attempt");
    rig.received(&request);
    rig.pass(INVISIBLE_MS);
    assert_eq!(attempts(&rig.received(&request).picks), [2]);
}

#[test]
fn a_normal_group_on_a_fifo_topic_does_not_wait() {
    let (mut rig, topic, _) = rig();
    let group = rig.group("normal", GroupSettings::default());
    rig.publish(topic, &[(0, "", "a"); 2]);
    assert_eq!(offsets(&rig.receive(group, topic, 1)), [0]);
    assert_eq!(offsets(&rig.receive(group, topic, 1)), [1]);
}

#[test]
fn messages_without_a_group_do_not_wait_for_each_other() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", ""); 2]);
    let first = rig.receive(group, topic, 1);
    assert_eq!(offsets(&rig.receive(group, topic, 1)), [1]);
    rig.pass(INVISIBLE_MS - 1);
    assert_eq!(rig.ack(group, topic, &first), [Settled::Done]);
    assert_eq!(handle(&first[0]).offset.0, 0);
}
