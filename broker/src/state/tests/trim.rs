use raft_log::StateMachine;
use raft_log::types::LogIndex;

use super::harness::{INVISIBLE_MS, Rig, offsets};
use crate::model::{GroupSettings, QueueId, QueueOffset, TopicId, TopicType};
use crate::state::apply_limits::LOOKED_AT_MAX;
use crate::state::{Counts, Outcome, Settled, State, outcomes, relocate, sweep, trim_to};

/// Five entries of two messages each in one queue; answers the topic and the index of the first of them.
fn published(rig: &mut Rig) -> (TopicId, u64) {
    let topic = rig.topic("t", 1, TopicType::Normal);
    let first = rig.log.len() as u64;
    for _ in 0..5 {
        rig.publish(topic, &[(0, "", ""), (0, "red", "")]);
    }
    (topic, first)
}

/// A trim; the queues have followed it when this returns.
fn trim(rig: &mut Rig, to: u64) -> u64 {
    let start = trim_only(rig, to);
    while rig.reader().sweep_due() {
        rig.one(&sweep());
    }
    start
}

fn trim_only(rig: &mut Rig, to: u64) -> u64 {
    match rig.one(&trim_to(LogIndex(to))) {
        Outcome::Trimmed { start } => start.0,
        other => panic!("a trim answers {other:?}"),
    }
}

fn release(rig: &mut Rig, to: u64) -> u64 {
    let start = rig.release(LogIndex(to));
    while rig.reader().sweep_due() {
        rig.one(&sweep());
    }
    start.0
}

fn bounds(rig: &Rig, topic: TopicId) -> (u64, u64) {
    let bounds = rig.reader().queue_bounds(topic).unwrap()[0];
    (bounds.first.0, bounds.next.0)
}

/// hazards 23: what nobody holds goes, and everybody begins behind it.
#[test]
fn queues_begin_behind_what_was_trimmed_and_unread_messages_expire() {
    let mut rig = Rig::new();
    let (topic, first) = published(&mut rig);
    let (behind, ahead) = (rig.group("behind", GroupSettings::default()), rig.group("ahead", GroupSettings::default()));
    let picks = rig.receive(behind, topic, 1);
    rig.ack(behind, topic, &picks);
    let picks = rig.receive(ahead, topic, 8);
    rig.ack(ahead, topic, &picks);

    assert_eq!(trim(&mut rig, first + 3), first + 3);
    assert_eq!(bounds(&rig, topic), (6, 10));
    assert_eq!(rig.state().needed_from(), LogIndex(first + 3));
    let located = rig.reader().locate(topic, QueueId(0), QueueOffset(0), 2).unwrap();
    assert_eq!(located.iter().map(|found| found.offset.0).collect::<Vec<_>>(), [6, 7], "offsets below are moved up");
    let counters = rig.reader().counters();
    assert_eq!((counters.trimmed, counters.expired_unread), (6, 5), "one group had not received five of them");
    let progress = rig.reader().progress(behind, topic).unwrap()[0];
    assert_eq!((progress.offset.0, progress.lag()), (6, 4));
    assert_eq!(offsets(&rig.receive(behind, topic, 32)), [6, 7, 8, 9]);
    assert_eq!(offsets(&rig.receive(ahead, topic, 32)), [8, 9]);
    let new = rig.group("new", GroupSettings::default());
    assert_eq!(offsets(&rig.receive(new, topic, 32)), [6, 7, 8, 9], "hazards 21: at the first retained message");
    assert_eq!(trim(&mut rig, first), first + 3, "the start never goes back");
}

/// hazards 21: also in the queues that its first receive does not get to. Else what went before it came counts as its loss.
#[test]
fn a_new_group_begins_at_the_first_retained_message_of_each_queue() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 2, TopicType::Normal);
    let first = rig.log.len() as u64;
    for _ in 0..3 {
        rig.publish(topic, &[(0, "", ""), (1, "", "")]);
    }
    assert_eq!(trim(&mut rig, first + 2), first + 2);
    let group = rig.group("g", GroupSettings::default());
    assert_eq!(offsets(&rig.receive(group, topic, 1)), [2]);
    let progress = rig.reader().progress(group, topic).unwrap();
    assert_eq!(progress.iter().map(|queue| queue.offset.0).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn a_queue_that_is_trimmed_empty_goes_on_counting_and_says_so_after_a_restart() {
    let mut rig = Rig::new();
    let (topic, _) = published(&mut rig);
    let group = rig.group("g", GroupSettings::default());
    let picks = rig.receive(group, topic, 1);
    rig.ack(group, topic, &picks);
    let end = rig.log.len() as u64;
    assert_eq!(trim(&mut rig, end + 100), end, "an entry trims nothing behind itself");
    assert_eq!(bounds(&rig, topic), (10, 10));
    assert!(!rig.reader().ready(group, topic).any(), "nothing is fresh");
    let digest = rig.digest();
    for flush in [false, true] {
        if flush {
            rig.state().flush().unwrap();
        }
        rig.crash_and_replay();
        assert_eq!((rig.digest(), bounds(&rig, topic)), (digest, (10, 10)));
        assert_eq!(rig.state().needed_from(), LogIndex(end));
    }
    rig.publish(topic, &[(0, "", "")]);
    assert_eq!(offsets(&rig.receive(group, topic, 9)), [10]);
}

/// hazards 23: in flight or awaiting redelivery is needed, whatever retention wants.
#[test]
fn what_a_group_has_taken_and_not_finished_holds_the_start() {
    let mut rig = Rig::new();
    let (topic, first) = published(&mut rig);
    let group = rig.group("g", GroupSettings::default());
    let picks = rig.receive(group, topic, 4);
    rig.ack(group, topic, &[picks[0], picks[1], picks[3]]);
    assert_eq!(trim(&mut rig, first + 4), first + 1, "the third message is in flight");
    rig.pass(INVISIBLE_MS);
    assert_eq!(trim(&mut rig, first + 4), first + 1, "it is to be delivered again");
    let again = rig.receive(group, topic, 1);
    assert_eq!(offsets(&again), [2]);
    rig.ack(group, topic, &again);
    assert_eq!(trim(&mut rig, first + 4), first + 4);
    assert_eq!(offsets(&rig.receive(group, topic, 9)), [8, 9]);
}

/// hazards 35: what a disk that fills takes before its time is what everybody has finished.
#[test]
fn a_release_stops_at_the_first_message_that_somebody_has_yet_to_read() {
    let mut rig = Rig::new();
    let (topic, first) = published(&mut rig);
    assert_eq!(release(&mut rig, first + 4), first, "nobody reads that topic yet, so everybody may");
    let (slow, fast) = (rig.group("slow", GroupSettings::default()), rig.group("fast", GroupSettings::default()));
    let picks = rig.receive(fast, topic, 10);
    rig.ack(fast, topic, &picks);
    let picks = rig.receive(slow, topic, 4);
    assert_eq!(release(&mut rig, first + 4), first, "the slow group holds what it has taken");
    rig.ack(slow, topic, &picks);
    assert_eq!(release(&mut rig, first + 4), first + 2);
    assert_eq!(release(&mut rig, first + 1), first + 2, "the start never goes back");
    let other = rig.topic("never-read", 1, TopicType::Normal);
    let at = rig.log.len() as u64;
    rig.publish(other, &[(0, "", "")]);
    let picks = rig.receive(slow, topic, 6);
    rig.ack(slow, topic, &picks);
    assert_eq!(release(&mut rig, at + 9), at, "another topic's message is unread");
    let counters = rig.reader().counters();
    assert_eq!((counters.trimmed, counters.expired_unread), (10, 0));
    assert_eq!(offsets(&rig.receive(slow, other, 9)), [0]);
}

/// Nobody has yet to read what retention has taken, though no sweep has come to its queue.
#[test]
fn a_release_is_not_held_by_what_is_gone_and_not_swept() {
    let mut rig = Rig::new();
    let (_, first) = published(&mut rig);
    assert_eq!(trim_only(&mut rig, first + 5), first + 5);
    assert!(rig.reader().sweep_due());
    assert_eq!(release(&mut rig, first + 6), first + 6);
}

/// Nor has a group that was deleted, though it is not erased yet.
#[test]
fn a_release_is_not_held_by_a_deleted_group() {
    let mut rig = Rig::new();
    let (topic, first) = published(&mut rig);
    let (gone, there) = (rig.group("gone", GroupSettings::default()), rig.group("there", GroupSettings::default()));
    for (group, count) in [(gone, 1), (there, 10)] {
        let picks = rig.receive(group, topic, count);
        rig.ack(group, topic, &picks);
    }
    rig.delete_group(gone, false, 0);
    assert!(rig.reader().erasing());
    assert_eq!(release(&mut rig, first + 4), first + 4);
}

/// hazards 23: a dead letter holds the start until its body is moved, also for who was restarted.
#[test]
fn a_dead_letter_is_moved_to_the_end_of_the_log() {
    let mut rig = Rig::new();
    let (topic, first) = published(&mut rig);
    let group = rig.group("g", GroupSettings { max_attempts: 1, ..GroupSettings::default() });
    let picks = rig.receive(group, topic, 3);
    rig.ack(group, topic, &picks[..2]);
    rig.pass(INVISIBLE_MS);
    let dead = rig.reader().topic("%DLQ%g").unwrap().id;
    assert_eq!(trim(&mut rig, first + 4), first + 1);
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    assert_eq!(trim(&mut rig, first + 4), first + 1);
    let held = rig.reader().held_back().unwrap();
    assert_eq!((held.to, held.counts), (LogIndex(first + 4), Counts { deliveries: 0, dead_letters: 1 }));
    let mut moved = 0;
    rig.retain(LogIndex(first + 4), |_, bodies| moved += bodies.len());
    assert_eq!(moved, 1);
    let reviewer = rig.group("reviewer", GroupSettings::default());
    let letters = rig.receive(reviewer, dead, 9);
    assert_eq!(rig.message(&letters[0]).body, "0//");
    assert!(letters[0].position.index.0 > first + 4);
    // Both the letter and who reads it need the one body; each is moved.
    let end = LogIndex(rig.log.len() as u64);
    rig.retain(end, |_, _| ());
    assert_eq!(rig.ack(reviewer, dead, &letters), [Settled::Done], "a handle goes on working");
    let again = rig.group("again", GroupSettings::default());
    let letters = rig.receive(again, dead, 9);
    assert_eq!(rig.message(&letters[0]).body, "0//");
}

/// However many dead letters there are and however fast retention goes on: what was moved a moment ago lies before where the start
/// is wanted again, and an old delivery has its turn all the same.
#[test]
fn what_holds_the_start_longest_is_moved_first() {
    const AT_ONCE: usize = 3;
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    let first = rig.log.len() as u64;
    for _ in 0..=AT_ONCE + 1 {
        rig.publish(topic, &[(0, "", "")]);
    }
    let group = rig.group("g", GroupSettings { max_attempts: 1, ..GroupSettings::default() });
    let picks = rig.receive(group, topic, 9);
    rig.change(group, topic, &picks[0], 100 * INVISIBLE_MS).unwrap();
    rig.pass(INVISIBLE_MS);
    for _ in 0..2 {
        let end = LogIndex(rig.log.len() as u64);
        assert_eq!(trim(&mut rig, end.0), first, "the delivery holds it");
        let held = rig.reader().held_back().unwrap();
        assert_eq!(held.counts, Counts { deliveries: 1, dead_letters: AT_ONCE as u64 + 1 });
        let bodies = rig.needed_bodies(held.before, AT_ONCE);
        rig.one(&relocate(&bodies));
        let end = rig.log.len() as u64;
        if trim(&mut rig, end) > first {
            return;
        }
    }
    panic!("others are moved again and again");
}

/// What waits for a consumer that does not come has one more time; what is with a consumer, as many as it needs.
#[test]
fn an_abandoned_message_is_moved_once_and_one_in_flight_as_often_as_it_must() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    rig.publish(topic, &[(0, "", ""), (0, "", "")]);
    let group = rig.group("g", GroupSettings::default());
    let picks = rig.receive(group, topic, 2);
    rig.change(group, topic, &picks[0], 0).unwrap();
    for round in 1..=3 {
        let end = LogIndex(rig.log.len() as u64);
        rig.retain(end, |_, _| ());
        assert_eq!(rig.reader().is_pending(group, topic, QueueId(0), 0), round == 1, "round {round}");
        assert!(rig.reader().is_pending(group, topic, QueueId(0), 1));
    }
    assert_eq!(rig.reader().counters().expired_unread, 1);
    assert_eq!(rig.ack(group, topic, &picks[1..]), [Settled::Done]);
}

/// Until the sweep has come to a queue, whoever reads there passes over what lies below the start.
#[test]
fn nothing_below_the_start_is_delivered_before_the_sweep() {
    let mut rig = Rig::new();
    let (topic, first) = published(&mut rig);
    let group = rig.group("g", GroupSettings::default());
    assert_eq!(trim_only(&mut rig, first + 3), first + 3);
    assert_eq!(offsets(&rig.receive(group, topic, 2)), [6, 7]);
    while rig.reader().sweep_due() {
        rig.one(&sweep());
    }
    assert_eq!(bounds(&rig, topic), (6, 10));
    let counters = rig.reader().counters();
    assert_eq!((counters.trimmed, counters.expired_unread), (6, 6), "counted once");
    assert_eq!(offsets(&rig.receive(group, topic, 9)), [8, 9]);
}

/// One sweep looks at a bounded number of queues, and goes on there after a restart.
#[test]
fn a_sweep_goes_on_where_the_last_one_stopped() {
    let mut rig = Rig::new();
    let queues = u32::try_from(LOOKED_AT_MAX).unwrap() + 10;
    let topic = rig.topic("t", queues, TopicType::Normal);
    let all: Vec<_> = (0..queues).map(|queue| (queue, "", "")).collect();
    rig.publish(topic, &all);
    let to = rig.log.len() as u64;
    rig.publish(topic, &all);
    trim_only(&mut rig, to);
    let moved = |rig: &Rig| rig.reader().queue_bounds(topic).unwrap().iter().filter(|range| range.first.0 == 1).count();
    let mut steps = 0;
    while rig.reader().sweep_due() {
        let before = moved(&rig);
        rig.one(&sweep());
        assert!(moved(&rig) - before < all.len(), "not all at once");
        rig.crash_and_replay();
        steps += 1;
    }
    assert_eq!(moved(&rig), all.len());
    assert!(steps > 2);
}

/// hazards 24, 25: a checkpoint is the state at its entry, and the entries behind it end in the same state, trims and
/// all.
#[test]
fn a_restored_checkpoint_and_the_entries_behind_it_end_in_the_same_state() {
    let mut rig = Rig::new();
    let (topic, first) = published(&mut rig);
    let group = rig.group("g", GroupSettings::default());
    let picks = rig.receive(group, topic, 4);
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("checkpoint");
    std::fs::create_dir(&checkpoint).unwrap();
    rig.state().checkpoint(&checkpoint).unwrap();
    let at = rig.state().applied().unwrap();
    rig.ack(group, topic, &picks);
    trim(&mut rig, first + 2);
    rig.publish(topic, &[(0, "", "")]);

    let mut other = State::open(&folder.path().join("state")).unwrap();
    other.apply(rig.log[..2].to_vec()).unwrap();
    let reader = other.reader();
    for _ in 0..2 {
        other.restore(&checkpoint).unwrap();
        assert_eq!(other.applied(), Some(at.clone()));
        let behind = rig.log[at.id.index.0 as usize + 1..].to_vec();
        let last = other.apply(behind).unwrap().pop().unwrap();
        assert!(matches!(outcomes(&last).unwrap()[0], Outcome::Stored(_)));
        assert_eq!(reader.digest(), rig.reader().digest(), "readers that were there before see it");
        assert_eq!(reader.queue_bounds(topic), rig.reader().queue_bounds(topic));
    }
    drop((other, reader));
    let reopened = State::open(&folder.path().join("state")).unwrap();
    assert_eq!(reopened.applied(), Some(at), "what was restored is durable, what was applied since is not");
}
