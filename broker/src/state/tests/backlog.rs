//! How much a group has yet to do, and how old that is.

use raft_log::types::{LogIndex, UnixMillis};

use super::harness::{INVISIBLE_MS, Rig, receive};
use crate::model::{GroupSettings, QueueId, TopicType};
use crate::state::{Backlog, Receive, Times};

fn look(rig: &Rig, times: &mut Times, reads_max: usize) -> Vec<Backlog> {
    rig.reader().all_backlogs(times, reads_max).unwrap()
}

/// Ready, in flight, the time of the oldest and since when one waits: of the only group.
fn only(rig: &Rig) -> (u64, u64, Option<u64>, Option<u64>) {
    let mut all = look(rig, &mut Times::default(), 1000);
    let Backlog { ready, in_flight, oldest, waiting_since, timed, .. } = all.pop().unwrap();
    assert!(timed && all.is_empty());
    (ready, in_flight, oldest.map(|time| time.0), waiting_since.map(|time| time.0))
}

#[test]
fn what_is_ready_and_in_flight_is_counted_and_as_old_as_its_oldest_message() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 2, TopicType::Normal);
    let group = rig.group("g", GroupSettings::default());
    assert!(rig.receive(group, topic, 1).is_empty());
    assert_eq!(only(&rig), (0, 0, None, None), "nothing to do");
    let first = rig.now;
    rig.publish(topic, &[(0, "", ""), (0, "", "")]);
    rig.now += 1000;
    rig.publish(topic, &[(1, "", ""), (0, "", "")]);
    assert_eq!(only(&rig), (4, 0, Some(first), Some(first)));
    let picks = rig.receive(group, topic, 3);
    assert_eq!(only(&rig), (1, 3, Some(first), Some(first + 1000)), "the first are with a consumer");
    let (oldest, others): (Vec<_>, Vec<_>) =
        picks.into_iter().partition(|pick| (pick.queue.0, pick.offset.0) == (0, 0));
    assert_eq!(oldest.len(), 1);
    rig.ack(group, topic, &others);
    rig.pass(INVISIBLE_MS);
    assert_eq!(only(&rig), (2, 0, Some(first), Some(first + 1000)), "one is due again, and waits since now");
    rig.now += 5000;
    let picks = rig.receive(group, topic, 9);
    rig.ack(group, topic, &picks);
    assert_eq!(only(&rig), (0, 0, None, None));
}

#[test]
fn what_is_due_again_waits_since_then_and_not_since_it_was_stored() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    let group = rig.group("g", GroupSettings::default());
    let stored = rig.now;
    rig.publish(topic, &[(0, "", "")]);
    rig.receive(group, topic, 1);
    assert_eq!(only(&rig), (0, 1, Some(stored), None));
    rig.pass(INVISIBLE_MS);
    assert_eq!(only(&rig), (1, 0, Some(stored), Some(stored + INVISIBLE_MS)));
}

#[test]
fn what_waits_behind_its_message_group_is_ready_and_nobody_could_get_it() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Fifo);
    let group = rig.group("g", GroupSettings { fifo: true, ..GroupSettings::default() });
    rig.publish(topic, &[(0, "", "a"); 5]);
    let picks = rig.receive(group, topic, 1);
    rig.receive(group, topic, 9);
    let reader = rig.reader();
    assert_eq!(only(&rig), (4, 1, Some(rig.now), None));
    assert_eq!(reader.progress(group, topic).unwrap().iter().map(|of| of.lag()).sum::<u64>(), 5);
    rig.ack(group, topic, &picks);
    assert_eq!(only(&rig), (4, 0, Some(rig.now), Some(rig.now)), "the next one may be had");
}

/// Only the body holds: what retention took from the queue has no time in its index any more.
#[test]
fn what_is_held_when_its_queue_went_on_is_as_old_as_its_delivery() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    let group = rig.group("g", GroupSettings::default());
    rig.publish(topic, &[(0, "", "")]);
    rig.now += 500;
    let delivered = rig.now;
    let pick = rig.receive(group, topic, 1)[0];
    let body = pick.position.index;
    assert_eq!(look(&rig, &mut Times::default(), 9)[0].needs, Some(body));
    rig.now += 500;
    rig.publish(topic, &[(0, "", "")]);
    let end = LogIndex(rig.log.len() as u64 - 1);
    rig.retain(end, |_, _| ());
    rig.receive(group, topic, 1);
    let found = look(&rig, &mut Times::default(), 9).remove(0);
    assert!(found.needs.unwrap() > body && found.in_flight == 2, "{found:?}");
    let second = rig.reader().queue_bounds(topic).unwrap()[0].first.0;
    assert_eq!(second, 1, "the first message left its queue");
    assert_eq!(found.oldest, Some(UnixMillis(delivered + 500)), "that of the first which the queue still has");
}

#[test]
fn a_look_reads_no_more_than_it_may_and_each_group_has_its_turn() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 3, TopicType::Normal);
    for name in ["a", "b", "c", "d"] {
        let group = rig.group(name, GroupSettings::default());
        rig.receive(group, topic, 1);
    }
    let other = rig.topic("other", 1, TopicType::Normal);
    let group = rig.group("e", GroupSettings::default());
    rig.receive(group, other, 1);
    let stored = UnixMillis(rig.now);
    for queue in 0..3 {
        rig.publish(topic, &[(queue, "", "")]);
    }
    rig.publish(other, &[(0, "", "")]);
    let mut times = Times::default();
    let untimed =
        |all: &[Backlog]| all.iter().filter(|of| !of.timed).map(|of| of.group.to_string()).collect::<Vec<_>>();
    let all = look(&rig, &mut times, 0);
    assert_eq!(untimed(&all), ["a", "b", "c", "d", "e"]);
    assert!(all.iter().all(|of| of.oldest.is_none() && of.ready > 0));
    // The four groups of the first topic share their places.
    let all = look(&rig, &mut times, 3);
    assert_eq!(untimed(&all), ["e"]);
    assert!(all[..4].iter().all(|of| of.oldest == Some(stored)));
    assert_eq!(untimed(&look(&rig, &mut times, 1)), [""; 0], "what is known is not read again");
    assert_eq!(untimed(&look(&rig, &mut times, 0)), [""; 0]);
    // Two groups move all the time, and one look reads no more than the places of one of them.
    let mut seen = Vec::new();
    let first = rig.reader().group("a").unwrap().id;
    for _ in 0..4 {
        for queue in [0, 1, 2].map(QueueId) {
            rig.publish(topic, &[(queue.0, "", ""); 2]);
            let picks = rig.received(&Receive { queue: Some(queue), ..receive(first, topic, 1) }).picks;
            rig.ack(first, topic, &picks);
        }
        rig.publish(other, &[(0, "", ""); 2]);
        let picks = rig.receive(group, other, 1);
        rig.ack(group, other, &picks);
        seen.push(untimed(&look(&rig, &mut times, 3)));
    }
    assert_eq!(seen, [["e"], ["a"], ["e"], ["a"]]);
}
