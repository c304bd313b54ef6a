//! What may begin, what is renewed and what is said, over time that the test decides.

use tercet_proto::client::v1::{Batch, Delivered, StoredProperties};

use prost::Message as _;

use super::*;

const INVISIBLE: Duration = Duration::from_secs(40);

/// Messages of one queue, at offsets from 0, each of this message group.
fn messages(groups: &[Option<&str>]) -> Vec<ReceivedMessage> {
    let delivered = groups.iter().zip(0..).map(|(group, offset)| {
        let stored = StoredProperties { message_group: group.unwrap_or_default().to_owned(), ..Default::default() };
        Delivered { offset, properties: stored.encode_to_vec().into(), ..Delivered::default() }
    });
    let batch = Batch { deadline_unix_ms: 5, messages: delivered.collect(), ..Batch::default() };
    ReceivedMessage::of_batch(&"t".into(), crate::broker_group::BrokerGroup(0), batch)
        .map(|(_, message)| message.unwrap())
        .collect()
}

fn hand(groups: &[Option<&str>]) -> (InHand, Instant) {
    let (mut hand, now) = (InHand::new(INVISIBLE), Instant::now());
    hand.admit(messages(groups), now);
    (hand, now)
}

/// Starts as many as may begin; their ids and offsets.
fn start(hand: &mut InHand, limit: usize) -> Vec<(Id, u64)> {
    std::iter::from_fn(|| hand.start(limit)).map(|(id, message)| (id, message.offset())).collect()
}

fn said(settlements: &[Settlement]) -> Vec<(u64, u64, Fate)> {
    settlements.iter().map(|of| (of.reference.offset, of.reference.deadline_unix_ms, of.fate)).collect()
}

const RETRY: Fate = Fate::Hidden { invisible_ms: 1000, uncounted: false };

#[test]
fn so_many_run_and_the_next_begins_when_one_is_done() {
    let (mut hand, _) = hand(&[None; 5]);
    assert_eq!(start(&mut hand, 3), [(1, 0), (2, 1), (3, 2)]);
    assert_eq!(hand.room(8), 3);
    assert_eq!(said(&hand.finish(2, Fate::Done)), [(1, 5, Fate::Done)]);
    assert_eq!(start(&mut hand, 3), [(4, 3)]);
    assert!(!hand.is_empty());
}

#[test]
fn of_a_message_group_one_runs_at_a_time_in_order() {
    let (mut hand, _) = hand(&[Some("a"), Some("a"), Some("b"), Some("a"), None]);
    assert_eq!(start(&mut hand, 9), [(1, 0), (3, 2), (5, 4)]);
    hand.finish(1, Fate::Done);
    assert_eq!(start(&mut hand, 9), [(2, 1)]);
    hand.finish(2, Fate::Done);
    assert_eq!(start(&mut hand, 9), [(4, 3)]);
    for id in [3, 4, 5] {
        hand.finish(id, Fate::Done);
    }
    assert!(hand.is_empty() && hand.behind.is_empty());
}

#[test]
fn what_is_behind_a_message_that_failed_goes_back_uncounted() {
    let (mut hand, now) = hand(&[Some("a"), Some("a"), Some("b"), Some("a")]);
    start(&mut hand, 9);
    assert_eq!(said(&hand.finish(1, RETRY)), [(0, 5, RETRY), (1, 5, GIVE_BACK), (3, 5, GIVE_BACK)]);
    // It comes again, and waits for nothing.
    hand.admit(messages(&[Some("a")]), now);
    assert_eq!(start(&mut hand, 9), [(5, 0)]);
}

#[test]
fn many_behind_a_few_groups_hold_up_what_is_taken() {
    let (mut hand, _) = hand(&[Some("a"); WAITING_MAX]);
    start(&mut hand, 9);
    assert_eq!(hand.room(9), 8);
    hand.admit(messages(&[Some("a")]), Instant::now());
    assert_eq!(hand.room(9), 0);
}

#[test]
fn deliveries_are_renewed_long_before_their_time_has_passed_and_settled_by_their_new_reference() {
    let (mut hand, now) = hand(&[None, Some("a"), Some("a")]);
    start(&mut hand, 9);
    assert_eq!(hand.renew_at(), Some(now + INVISIBLE / 4));
    let due = hand.renew_due(now + INVISIBLE / 4);
    assert_eq!(due.values().flatten().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 3], "what waits too");
    assert_eq!(hand.renew_at(), None);
    assert!(hand.finish(1, Fate::Done).is_empty(), "its reference is about to change");
    assert_eq!(hand.renewed(1, Some(77), now).map(|settlement| said(&[settlement])), Some(vec![(0, 77, Fate::Done)]));
    assert_eq!((hand.renewed(2, Some(78), now), hand.renewed(3, Some(79), now)), (None, None));
    assert_eq!(hand.renew_at(), Some(now + INVISIBLE / 2));
    assert_eq!(said(&hand.finish(2, RETRY)), [(1, 78, RETRY), (2, 79, GIVE_BACK)]);
}

#[test]
fn a_renewal_of_which_nothing_is_known_is_tried_again_soon() {
    let (mut hand, now) = hand(&[None]);
    start(&mut hand, 1);
    hand.renew_due(now + INVISIBLE);
    assert_eq!(hand.renewed(1, None, now), None);
    assert_eq!(hand.renew_at(), Some(now + RENEW_AGAIN));
    assert_eq!(said(&hand.finish(1, Fate::Done)), [(0, 5, Fate::Done)]);
}

#[test]
fn nothing_is_said_of_a_delivery_that_is_over_and_what_is_behind_it_goes_on() {
    let (mut hand, now) = hand(&[Some("a"), Some("a"), Some("a"), Some("b"), Some("b")]);
    assert_eq!(start(&mut hand, 1), [(1, 0)]);
    hand.renew_due(now + INVISIBLE);
    for (id, deadline) in [(1, 0), (2, 0), (3, 9), (4, 0), (5, 9)] {
        assert_eq!(hand.renewed(id, Some(deadline), now), None);
    }
    assert!(hand.finish(1, Fate::Done).is_empty());
    assert_eq!(start(&mut hand, 9), [(5, 4), (3, 2)]);
}

#[test]
fn at_the_end_what_has_not_begun_goes_back_and_the_rest_is_finished() {
    let (mut hand, now) = hand(&[None, Some("a"), Some("a"), None]);
    assert_eq!(start(&mut hand, 2), [(1, 0), (2, 1)]);
    hand.renew_due(now + INVISIBLE);
    hand.renewed(4, Some(9), now);
    assert_eq!(said(&hand.stop()), [(3, 9, GIVE_BACK)]);
    assert_eq!(hand.renewed(3, Some(8), now).map(|settlement| said(&[settlement])), Some(vec![(2, 8, GIVE_BACK)]));
    assert!(start(&mut hand, 9).is_empty());
    hand.renewed(1, Some(9), now);
    hand.renewed(2, Some(9), now);
    hand.finish(1, Fate::Done);
    assert_eq!(said(&hand.finish(2, RETRY)), [(1, 9, RETRY)]);
    assert!(hand.is_empty());
}
