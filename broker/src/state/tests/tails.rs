//! Messages that wait behind their message group, beyond what memory holds.

use raft_log::StateMachine;
use raft_log::types::LogIndex;

use super::harness::{INVISIBLE_MS, Rig, attempts, offsets, receive, tags};
use crate::model::{ConsumerGroupId, GroupChange, GroupSettings, QueueId, TopicId, TopicType};
use crate::state::Settled;

fn rig() -> (Rig, TopicId, ConsumerGroupId) {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Fifo);
    let group = rig.group("g", GroupSettings { fifo: true, max_attempts: 3, ..GroupSettings::default() });
    (rig, topic, group)
}

/// Which of the first `count` messages are held in memory, and which wait in the store.
fn held(rig: &Rig, topic: TopicId, group: ConsumerGroupId, count: u64) -> (Vec<u64>, Vec<u64>) {
    let (reader, queue) = (rig.reader(), QueueId(0));
    let pending = (0..count).filter(|offset| reader.is_pending(group, topic, queue, *offset)).collect();
    let waiting = (0..count).filter(|offset| reader.in_tail(group, topic, queue, *offset)).collect();
    (pending, waiting)
}

#[test]
fn of_a_stuck_message_group_memory_holds_what_is_under_way_and_the_others_go_on() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "a"); 6]);
    rig.publish(topic, &[(0, "", "b"); 2]);
    let first = rig.receive(group, topic, 1);
    assert_eq!(offsets(&rig.receive(group, topic, 9)), [6, 7]);
    assert_eq!(held(&rig, topic, group, 8), (vec![0, 6, 7], vec![1, 2, 3, 4, 5]));
    let progress = rig.reader().progress(group, topic).unwrap()[0];
    assert_eq!((progress.offset.0, progress.pending, progress.lag()), (0, 8, 8), "all of it is still to be done");
    rig.ack(group, topic, &first);
    assert_eq!(held(&rig, topic, group, 8), (vec![1, 6, 7], vec![2, 3, 4, 5]), "the next is ready");
    assert_eq!(rig.reader().progress(group, topic).unwrap()[0].offset.0, 1);
    assert_eq!(offsets(&rig.receive(group, topic, 3)), [1, 2, 3], "a batch takes from behind it");
    assert!(rig.receive(group, topic, 3).is_empty());
}

#[test]
fn what_waits_comes_in_its_order_whatever_happens_before_it() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "a"); 3]);
    let first = rig.receive(group, topic, 1);
    assert!(rig.receive(group, topic, 9).is_empty());
    rig.state().flush().unwrap();
    rig.publish(topic, &[(0, "", "a"); 3]);
    assert!(rig.receive(group, topic, 9).is_empty());
    let before = rig.digest();
    rig.crash_and_replay();
    assert_eq!(rig.digest(), before);
    rig.pass(INVISIBLE_MS);
    let again = rig.receive(group, topic, 4);
    assert_eq!((offsets(&again), attempts(&again)), (vec![0, 1, 2, 3], vec![2, 1, 1, 1]));
    assert_eq!(rig.ack(group, topic, &first), [Settled::Expired]);
    // The last of the batch is done with first; what is behind waits for all of it.
    rig.ack(group, topic, &again[1..]);
    assert!(rig.receive(group, topic, 9).is_empty());
    rig.give_up(group, topic, &again[0]);
    assert_eq!(offsets(&rig.receive(group, topic, 9)), [4, 5]);
    assert_eq!(held(&rig, topic, group, 6), (vec![4, 5], vec![]));
}

#[test]
fn what_does_not_fit_waits_at_the_head() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "a"); 4]);
    let first = rig.receive(group, topic, 1);
    assert!(rig.receive(group, topic, 9).is_empty());
    rig.ack(group, topic, &first);
    let mut small = receive(group, topic, 9);
    small.bytes_max = 1;
    let received = rig.received(&small);
    assert_eq!(offsets(&received.picks), [1]);
    assert_eq!(held(&rig, topic, group, 4), (vec![1, 2], vec![3]));
    rig.ack(group, topic, &received.picks);
    assert_eq!(offsets(&rig.receive(group, topic, 9)), [2, 3]);
}

/// Messages that nobody has received go with retention, and are counted, wherever they wait.
#[test]
fn retention_takes_from_what_waits_and_the_rest_comes() {
    let (mut rig, topic, group) = rig();
    for _ in 0..6 {
        rig.publish(topic, &[(0, "", "a")]);
    }
    let start = rig.log.len() as u64;
    rig.publish(topic, &[(0, "", "a"); 2]);
    let first = rig.receive(group, topic, 1);
    assert!(rig.receive(group, topic, 9).is_empty());
    rig.release(LogIndex(start));
    assert!(rig.state().needed_from() < LogIndex(start), "a release stops at what nobody has read");
    rig.retain(LogIndex(start), |_, _| ());
    assert_eq!(rig.state().needed_from(), LogIndex(start));
    assert_eq!(held(&rig, topic, group, 8), (vec![0], (1..8).collect()), "nobody has looked yet");
    let end = LogIndex(rig.log.len() as u64);
    rig.release(end);
    assert_eq!(rig.state().needed_from(), LogIndex(start), "what is gone from a tail holds nothing, what is left does");
    rig.ack(group, topic, &first);
    assert_eq!(rig.reader().counters().expired_unread, 5);
    assert_eq!(held(&rig, topic, group, 8), (vec![6], vec![7]));
    let rest = rig.receive(group, topic, 9);
    assert_eq!(offsets(&rest), [6, 7]);
    assert!(rest.iter().all(|pick| rig.message(pick).body == "0//a"));
}

#[test]
fn a_tail_that_retention_took_as_a_whole_is_no_tail() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "a"); 5]);
    let first = rig.receive(group, topic, 1);
    assert!(rig.receive(group, topic, 9).is_empty());
    let end = LogIndex(rig.log.len() as u64);
    rig.retain(end, |_, _| ());
    rig.ack(group, topic, &first);
    assert_eq!((held(&rig, topic, group, 5), rig.reader().counters().expired_unread), ((vec![], vec![]), 4));
    rig.publish(topic, &[(0, "", "a"); 2]);
    assert_eq!(offsets(&rig.receive(group, topic, 9)), [5, 6]);
}

/// What one acknowledgement of many heads deletes one by one is bounded, and what is beyond goes as well.
#[test]
fn many_tails_that_retention_took_are_done_with_in_one_command() {
    let (mut rig, topic, group) = rig();
    let lanes: Vec<String> = (0..12).map(|lane| lane.to_string()).collect();
    let all: Vec<_> = lanes.iter().map(|lane| (0, "", lane.as_str())).collect();
    (0..5).for_each(|_| drop(rig.publish(topic, &all)));
    let first = rig.receive(group, topic, 12);
    assert!(rig.receive(group, topic, 9).is_empty());
    let end = LogIndex(rig.log.len() as u64);
    rig.retain(end, |_, _| ());
    rig.state().flush().unwrap();
    rig.ack(group, topic, &first);
    assert_eq!((held(&rig, topic, group, 60), rig.reader().counters().expired_unread), ((vec![], vec![]), 48));
    let digest = rig.digest();
    rig.crash_and_replay();
    assert_eq!(rig.digest(), digest);
    rig.publish(topic, &all);
    assert_eq!(rig.receive(group, topic, 32).len(), 12);
}

/// Dead letters are moved by retention, also while they wait for their message group at whoever looks through them.
#[test]
fn dead_letters_that_wait_follow_their_bodies() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Fifo);
    let group = rig.group("g", GroupSettings { max_attempts: 1, ..GroupSettings::default() });
    rig.publish(topic, &[(0, "", "a"); 3]);
    assert_eq!(rig.receive(group, topic, 9).len(), 3);
    rig.pass(INVISIBLE_MS);
    let letters = rig.reader().topic("%DLQ%g").unwrap().id;
    let reviewer = rig.group("reviewer", GroupSettings { fifo: true, ..GroupSettings::default() });
    let first = rig.receive(reviewer, letters, 1);
    assert!(rig.receive(reviewer, letters, 9).is_empty());
    let end = LogIndex(rig.log.len() as u64);
    rig.retain(end, |_, _| ());
    rig.ack(reviewer, letters, &first);
    let rest = rig.receive(reviewer, letters, 9);
    assert_eq!(offsets(&rest), [1, 2]);
    assert!(rest.iter().all(|pick| rig.message(pick).body == "0//a"));
}

#[test]
fn without_order_all_that_waited_is_there_at_once() {
    let (mut rig, topic, group) = rig();
    rig.publish(topic, &[(0, "", "a"), (0, "x", "a"), (0, "", "a"), (0, "x", "a")]);
    assert_eq!(offsets(&rig.receive(group, topic, 1)), [0]);
    assert!(rig.receive(group, topic, 9).is_empty());
    rig.update("g", GroupChange { fifo: Some(false), ..GroupChange::default() });
    assert_eq!(rig.reader().ready(group, topic).redeliveries, 3);
    let mut only_x = receive(group, topic, 9);
    only_x.filter = tags(&["x"]);
    assert_eq!(offsets(&rig.received(&only_x).picks), [1, 3]);
    assert!(!rig.reader().ready(group, topic).any(), "the filter did not want the others");
}

/// A consumer with another filter must not end a delivery that the one before could not finish.
#[test]
fn what_was_delivered_once_comes_again_whatever_the_filter_says() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    let group = rig.group("g", GroupSettings::default());
    rig.publish(topic, &[(0, "old", ""), (0, "other", "")]);
    let mut old = receive(group, topic, 1);
    old.filter = tags(&["old"]);
    assert_eq!(offsets(&rig.received(&old).picks), [0]);
    rig.pass(INVISIBLE_MS);
    let mut new = receive(group, topic, 9);
    new.filter = tags(&["new"]);
    let again = rig.received(&new).picks;
    assert_eq!((offsets(&again), attempts(&again)), (vec![0], vec![2]));
}
