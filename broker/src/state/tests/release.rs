//! A release of disk space: decided beside `apply`, and void if something became unread since (hazards 35).

use raft_log::StateMachine;
use raft_log::types::LogIndex;

use super::harness::{Rig, offsets, receive};
use crate::model::{ConsumerGroupId, GroupSettings, QueueId, TopicId, TopicType};
use crate::state::{Looked, ReleaseTo};

/// A topic of two queues with a message in each of some entries, all read by a group; the first of those entries, and behind the last.
fn all_read(rig: &mut Rig) -> (TopicId, ConsumerGroupId, u64, u64) {
    let topic = rig.topic("t", 2, TopicType::Fifo);
    let group = rig.group("g", GroupSettings { fifo: true, ..GroupSettings::default() });
    let first = rig.log.len() as u64;
    for _ in 0..3 {
        rig.publish(topic, &[(0, "", "a"), (1, "", "b")]);
    }
    let end = rig.log.len() as u64;
    let picks = rig.receive(group, topic, 9);
    assert_eq!(picks.len(), 6);
    rig.ack(group, topic, &picks);
    (topic, group, first, end)
}

fn found(rig: &Rig, to: u64) -> ReleaseTo {
    rig.reader().release(LogIndex(to)).unwrap().expect("all of it is read")
}

#[test]
fn a_group_that_comes_meanwhile_keeps_what_it_has_yet_to_read() {
    let mut rig = Rig::new();
    let (topic, _, first, end) = all_read(&mut rig);
    let release = found(&rig, end);
    assert_eq!(release.to.0, end);
    let new = rig.group("new", GroupSettings::default());
    assert_eq!(rig.receive(new, topic, 1).len(), 1);
    let before = rig.state().needed_from();
    assert_eq!(rig.apply_release(release), before, "it is void");
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    assert_eq!(rig.apply_release(release), before, "after a restart as well");
    assert_eq!(rig.release(LogIndex(end)).0, first, "the next goes by what there is now");
    assert_eq!(rig.receive(new, topic, 9).len(), 5, "nothing is lost");
}

#[test]
fn a_topic_that_its_last_group_leaves_is_unread_as_a_whole() {
    let mut rig = Rig::new();
    let (topic, group, first, end) = all_read(&mut rig);
    let release = found(&rig, end);
    rig.delete_group(group, false, 0);
    rig.erase_all(9);
    let before = rig.state().needed_from();
    assert_eq!(rig.apply_release(release), before);
    assert!(rig.release(LogIndex(end)).0 <= first);
    let new = rig.group("new", GroupSettings::default());
    assert_eq!(rig.receive(new, topic, 9).len(), 6);
}

#[test]
fn what_was_published_since_the_look_stays_and_what_is_under_way_holds_the_start() {
    let mut rig = Rig::new();
    let (topic, group, _, end) = all_read(&mut rig);
    let release = found(&rig, end + 100);
    assert!(release.to <= release.seen.next());
    let at = rig.log.len() as u64;
    rig.publish(topic, &[(0, "", "a")]);
    rig.publish(topic, &[(0, "", "a")]);
    assert_eq!(rig.apply_release(ReleaseTo { to: LogIndex(at + 2), ..release }).0, at, "however far it says");
    let release = ReleaseTo { to: LogIndex(at + 2), seen: LogIndex(rig.log.len() as u64) };
    let picks = rig.receive(group, topic, 2);
    assert_eq!(rig.apply_release(release).0, at, "they are taken and not finished");
    rig.ack(group, topic, &picks);
}

/// A message that goes from its queue to a tail while the look goes from one to the other.
#[test]
fn what_moves_to_a_tail_meanwhile_is_seen_before_or_after() {
    for slices in 0..9 {
        let mut rig = Rig::new();
        let (topic, group, ..) = all_read(&mut rig);
        let first = rig.log.len() as u64;
        rig.publish(topic, &[(0, "", "a"), (1, "", "b")]);
        rig.publish(topic, &[(0, "", "a"), (1, "", "b")]);
        let end = LogIndex(rig.log.len() as u64);
        let mut look = rig.reader().look_for_unread(end).unwrap();
        let mut done = None;
        for slice in 0..99 {
            if slice == slices {
                // The first of each message group is under way now, and the second waits for it.
                for queue in [0, 1] {
                    let mut one = receive(group, topic, 1);
                    one.queue = Some(QueueId(queue));
                    assert_eq!(offsets(&rig.received(&one).picks), [3]);
                }
                assert!(rig.receive(group, topic, 9).is_empty());
            }
            match rig.reader().look_on(look).unwrap() {
                Looked::Further(further) => look = further,
                Looked::Done(release) => {
                    done = Some(release);
                    break;
                }
                Looked::Nothing => break,
            }
        }
        let Some(release) = done else { panic!("what is before can go") };
        assert!(release.to.0 <= first + 1, "after {slices} slices: {release:?}");
        assert!(rig.apply_release(release).0 <= first + 1);
    }
}
