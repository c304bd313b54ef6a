//! hazards 16, end to end: the plan's own rules are tested beside it.

use raft_log::StateMachine;

use super::harness::{Rig, producer};
use crate::model::{QueueId, QueueOffset, TopicId, TopicType};
use crate::state::PublishRefusal;
use crate::state::apply_limits::{IDLE_MIN_MS, PRODUCERS_MAX, WINDOW};

fn rig(kind: TopicType) -> (Rig, TopicId) {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 4, kind);
    (rig, topic)
}

/// hazards 16: a repeat answers with the first result, even if it asks for another queue and after a restart.
#[test]
fn a_repeat_gets_the_first_result_and_stores_nothing() {
    let (mut rig, topic) = rig(TopicType::Normal);
    let first = rig.try_publish(topic, producer(1, 1, 0), &[(0, "", ""), (1, "", "")]).unwrap();
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    let again = rig.try_publish(topic, producer(1, 1, 0), &[(3, "", ""), (3, "", "")]).unwrap();
    assert!(again.iter().all(|at| at.repeated));
    let places = |stored: &[crate::state::StoredAt]| stored.iter().map(|at| (at.queue, at.offset)).collect::<Vec<_>>();
    assert_eq!(places(&again), places(&first));
    let bounds = rig.reader().queue_bounds(topic).unwrap();
    assert_eq!(bounds.iter().map(|queue| queue.next.0).collect::<Vec<_>>(), [1, 1, 0, 0]);
    assert_eq!(rig.reader().counters().repeats, 2);
}

/// hazards 16: a batch of which some sequences were stored stores the others.
#[test]
fn a_partly_repeated_batch_stores_the_rest_once() {
    let (mut rig, topic) = rig(TopicType::Normal);
    rig.try_publish(topic, producer(1, 1, 1), &[(0, "", "")]).unwrap();
    let stored = rig.try_publish(topic, producer(1, 1, 0), &[(0, "", ""); 3]).unwrap();
    let flags: Vec<_> = stored.iter().map(|at| (at.offset.0, at.repeated)).collect();
    assert_eq!(flags, [(1, false), (0, true), (2, false)]);
    let again = rig.try_publish(topic, producer(1, 1, 0), &[(0, "", ""); 3]).unwrap();
    assert!(again.iter().all(|at| at.repeated));
}

#[test]
fn producers_and_topics_count_separately() {
    let (mut rig, topic) = rig(TopicType::Fifo);
    let other = rig.topic("other", 1, TopicType::Fifo);
    for (id, topic) in [(1, topic), (2, topic), (1, other)] {
        let stored = rig.try_publish(topic, producer(id, 1, 0), &[(0, "", "k")]).unwrap();
        assert!(!stored[0].repeated);
    }
}

/// hazards 16: in FIFO a gap is refused, and nothing is stored by it.
#[test]
fn a_gap_in_fifo_is_refused() {
    let (mut rig, topic) = rig(TopicType::Fifo);
    rig.try_publish(topic, producer(1, 1, 0), &[(0, "", "k")]).unwrap();
    let gap = rig.try_publish(topic, producer(1, 1, 2), &[(0, "", "k")]);
    assert_eq!(gap, Err(PublishRefusal::SequenceGap { expected: 1 }));
    let next = rig.try_publish(topic, producer(1, 1, 1), &[(0, "", "k")]).unwrap();
    assert_eq!((next[0].queue, next[0].offset), (QueueId(0), QueueOffset(1)));
}

/// hazards 16: a newer epoch fences the older, also after a restart.
#[test]
fn an_older_epoch_is_refused_after_a_restart_too() {
    let (mut rig, topic) = rig(TopicType::Normal);
    rig.try_publish(topic, producer(1, 1, 0), &[(0, "", ""); 2]).unwrap();
    rig.try_publish(topic, producer(1, 1, 2), &[(0, "", ""); 2]).unwrap();
    rig.try_publish(topic, producer(1, 2, 0), &[(0, "", "")]).unwrap();
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    let old = rig.try_publish(topic, producer(1, 1, 4), &[(0, "", "")]);
    assert_eq!(old, Err(PublishRefusal::OldEpoch { current: 2 }));
    assert!(rig.try_publish(topic, producer(1, 2, 0), &[(0, "", "")]).unwrap()[0].repeated);
}

/// hazards 16: below the window a typed refusal that does not claim "not stored".
#[test]
fn below_the_window_the_answer_is_that_nobody_knows() {
    let (mut rig, topic) = rig(TopicType::Normal);
    rig.try_publish(topic, producer(1, 1, 0), &[(0, "", "")]).unwrap();
    rig.try_publish(topic, producer(1, 1, 1), &vec![(0, "", ""); WINDOW as usize]).unwrap();
    let below = rig.try_publish(topic, producer(1, 1, 0), &[(0, "", "")]).unwrap_err();
    assert_eq!(below, PublishRefusal::BelowWindow { first_kept: 1 });
    assert!(!below.surely_not_stored());
    assert!(rig.try_publish(topic, producer(1, 1, 1), &[(0, "", "")]).unwrap()[0].repeated);
}

#[test]
fn live_producers_are_never_forgotten_and_idle_ones_make_room() {
    let (mut rig, topic) = rig(TopicType::Normal);
    for id in 0..PRODUCERS_MAX as u128 {
        rig.try_publish(topic, producer(id, 1, 0), &[(0, "", "")]).unwrap();
    }
    let refused = rig.try_publish(topic, producer(u128::MAX, 1, 0), &[(0, "", "")]);
    assert_eq!(refused, Err(PublishRefusal::TooManyProducers));
    rig.pass(IDLE_MIN_MS);
    rig.try_publish(topic, producer(0, 1, 1), &[(0, "", "")]).unwrap();
    rig.try_publish(topic, producer(u128::MAX, 1, 0), &[(0, "", "")]).unwrap();
    assert!(rig.try_publish(topic, producer(0, 1, 1), &[(0, "", "")]).unwrap()[0].repeated, "0 was heard lately");
    assert!(rig.try_publish(topic, producer(2, 1, 0), &[(0, "", "")]).unwrap()[0].repeated, "one made room, not two");
    rig.crash_and_replay();
}
