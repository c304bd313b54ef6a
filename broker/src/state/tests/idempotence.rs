//! hazards 16, end to end: the plan's own rules are tested beside it.

use raft_log::StateMachine;

use super::harness::{Rig, again, first_try, producer};
use crate::model::{QueueId, QueueOffset, TopicId, TopicType};
use crate::state::PublishRefusal;
use crate::state::apply_limits::{IDLE_MIN_MS, PRODUCERS_MAX, RESULTS_BYTES_MAX, WINDOW, WINDOW_UNDER_PRESSURE};

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

/// The window holds what is in flight, however much was sent.
#[test]
fn what_the_producer_knows_is_not_kept() {
    let (mut rig, topic) = rig(TopicType::Normal);
    for n in 0..100 {
        rig.try_publish(topic, first_try(1, n, n.saturating_sub(3)), &[(0, "", "")]).unwrap();
    }
    let kept = rig.reader().producers();
    assert_eq!(kept.count, 1);
    assert!(kept.results_bytes <= 4 * 64, "{kept:?}");
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    assert_eq!(rig.reader().producers(), kept);
    assert!(rig.try_publish(topic, again(1, 96, 96), &[(0, "", "")]).unwrap()[0].repeated);
    let over = rig.try_publish(topic, again(1, 95, 95), &[(0, "", "")]);
    assert_eq!(over, Err(PublishRefusal::BelowWindow { first_kept: 96 }));
}

/// A sequence below the lowest in doubt is abandoned: FIFO takes the gap, and it is never stored later.
#[test]
fn an_abandoned_sequence_leaves_a_gap_and_is_never_stored() {
    let (mut rig, topic) = rig(TopicType::Fifo);
    rig.try_publish(topic, first_try(1, 0, 0), &[(0, "", "k")]).unwrap();
    let gap = rig.try_publish(topic, first_try(1, 3, 1), &[(0, "", "k")]);
    assert_eq!(gap, Err(PublishRefusal::SequenceGap { expected: 1 }));
    let next = rig.try_publish(topic, first_try(1, 3, 3), &[(0, "", "k")]).unwrap();
    assert_eq!(next[0].offset, QueueOffset(1));
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    for late in [first_try(1, 1, 1), again(1, 2, 2)] {
        let refused = rig.try_publish(topic, late, &[(0, "", "k")]);
        assert_eq!(refused, Err(PublishRefusal::BelowWindow { first_kept: 3 }));
    }
}

/// hazards 16: refusals change nothing, the floor neither.
#[test]
fn a_refused_publish_leaves_the_floor_where_it_was() {
    let (mut rig, topic) = rig(TopicType::Normal);
    rig.try_publish(topic, first_try(1, 0, 0), &[(0, "", "")]).unwrap();
    let before = rig.reader().producers();
    let refused = rig.try_publish(topic, first_try(1, 9, 9), &[(7, "", "")]);
    assert_eq!(refused, Err(PublishRefusal::UnknownQueue(QueueId(7))));
    assert_eq!(rig.reader().producers(), before);
    assert!(rig.try_publish(topic, again(1, 0, 0), &[(0, "", "")]).unwrap()[0].repeated);
}

/// Fills the table of producers with strangers of one message each.
fn fill(rig: &mut Rig, topic: TopicId, from: u128) -> u128 {
    let mut id = from;
    while rig.try_publish(topic, first_try(id, 0, 0), &[(0, "", "")]).is_ok() {
        id += 1;
    }
    id
}

#[test]
fn known_producers_go_on_when_there_are_too_many_and_new_ones_are_surely_not_stored() {
    let (mut rig, topic) = rig(TopicType::Normal);
    let new = fill(&mut rig, topic, 0);
    assert_eq!(new, PRODUCERS_MAX as u128);
    let before = (rig.reader().producers(), rig.reader().queue_bounds(topic));
    let refused = rig.try_publish(topic, first_try(new, 0, 0), &[(0, "", "")]).unwrap_err();
    assert_eq!(refused, PublishRefusal::TooManyProducers { first_try: true });
    assert!(refused.surely_not_stored());
    let unsaid = rig.try_publish(topic, producer(new, 1, 0), &[(0, "", "")]).unwrap_err();
    assert!(!unsaid.surely_not_stored(), "it may be a repeat of one that was forgotten");
    assert_eq!((rig.reader().producers(), rig.reader().queue_bounds(topic)), before, "refusals change nothing");
    for id in 0..new {
        assert!(!rig.try_publish(topic, first_try(id, 1, 1), &[(0, "", "")]).unwrap()[0].repeated, "{id}");
    }
    rig.crash_and_replay();
}

#[test]
fn idle_producers_make_room_and_live_ones_are_not_forgotten() {
    let (mut rig, topic) = rig(TopicType::Normal);
    let new = fill(&mut rig, topic, 0);
    rig.serve(IDLE_MIN_MS);
    assert!(rig.try_publish(topic, again(0, 0, 0), &[(0, "", "")]).unwrap()[0].repeated, "a repeat is a use");
    rig.try_publish(topic, first_try(new, 0, 0), &[(0, "", "")]).unwrap();
    assert!(rig.try_publish(topic, again(0, 0, 0), &[(0, "", "")]).unwrap()[0].repeated, "0 was heard lately");
    assert!(rig.try_publish(topic, again(2, 0, 0), &[(0, "", "")]).unwrap()[0].repeated, "one made room, not two");
    let forgotten = rig.try_publish(topic, again(1, 0, 0), &[(0, "", "")]);
    assert_eq!(forgotten, Err(PublishRefusal::UnknownProducer));
    rig.crash_and_replay();
}

/// Time without service does not count.
#[test]
fn an_outage_forgets_nobody() {
    let (mut rig, topic) = rig(TopicType::Normal);
    let new = fill(&mut rig, topic, 0);
    for _ in 0..3 {
        rig.pass(10 * 60_000);
        let refused = rig.try_publish(topic, first_try(new, 0, 0), &[(0, "", "")]);
        assert_eq!(refused, Err(PublishRefusal::TooManyProducers { first_try: true }));
    }
    assert!(rig.try_publish(topic, again(0, 0, 0), &[(0, "", "")]).unwrap()[0].repeated);
}

/// A quiet lane, FIFO or not, that was forgotten goes on where it stands.
#[test]
fn a_forgotten_producer_goes_on_with_first_tries_and_its_repeats_are_unknown() {
    for kind in [TopicType::Normal, TopicType::Fifo] {
        let (mut rig, topic) = rig(kind);
        for n in 0..10 {
            rig.try_publish(topic, first_try(7, n * 500, n * 500), &[(0, "", "k"); 500]).unwrap();
        }
        rig.serve(IDLE_MIN_MS);
        fill(&mut rig, topic, 100);
        let stored = |rig: &Rig| rig.reader().queue_bounds(topic).unwrap()[0].next.0;
        let before = stored(&rig);
        let repeat = rig.try_publish(topic, again(7, 4500, 4500), &[(0, "", "k"); 500]).unwrap_err();
        assert_eq!(repeat, PublishRefusal::UnknownProducer);
        assert!(!repeat.surely_not_stored());
        assert_eq!(stored(&rig), before, "never stored twice");
        rig.serve(IDLE_MIN_MS);
        let next = rig.try_publish(topic, first_try(7, 5000, 5000), &[(0, "", "k")]).unwrap();
        assert!(!next[0].repeated);
        let below = rig.try_publish(topic, again(7, 4500, 4500), &[(0, "", "k"); 500]);
        assert_eq!(below, Err(PublishRefusal::BelowWindow { first_kept: 5000 }));
        rig.crash_and_replay();
    }
}

/// Memory for results is bounded for those who do not say what they have in doubt: fewer are kept of each.
#[test]
fn under_pressure_fewer_results_are_kept_and_a_known_producer_is_not_refused() {
    let (mut rig, topic) = rig(TopicType::Normal);
    let mut next = 0;
    while rig.reader().producers().results_bytes < RESULTS_BYTES_MAX {
        rig.try_publish(topic, producer(1, 1, next), &[(0, "", "")]).unwrap();
        next += 1;
    }
    let new = rig.try_publish(topic, first_try(2, 0, 0), &[(0, "", "")]);
    assert_eq!(new, Err(PublishRefusal::TooManyProducers { first_try: true }));
    rig.try_publish(topic, producer(1, 1, next), &[(0, "", "")]).unwrap();
    assert!(rig.reader().producers().results_bytes <= RESULTS_BYTES_MAX / 2);
    let first_kept = next + 1 - WINDOW_UNDER_PRESSURE;
    assert!(rig.try_publish(topic, producer(1, 1, first_kept), &[(0, "", "")]).unwrap()[0].repeated);
    let below = rig.try_publish(topic, producer(1, 1, first_kept - 1), &[(0, "", "")]);
    assert_eq!(below, Err(PublishRefusal::BelowWindow { first_kept }));
    rig.try_publish(topic, first_try(2, 0, 0), &[(0, "", "")]).unwrap();
    rig.crash_and_replay();
}
