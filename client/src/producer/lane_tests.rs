use bytes::{BufMut as _, Bytes};

use super::super::{
    batch::{Entry, Waiter},
    room::Rooms,
};
use super::*;
use crate::message_id::MessageIds;

const TIMEOUT: Duration = Duration::from_secs(8);

fn lane(order: Order, messages_max: usize, in_flight_max: usize) -> Lane {
    let limits = Limits { messages_max, bytes_max: 64 << 10, in_flight_max, send_timeout: TIMEOUT };
    Lane::new(order, limits, 0xAB)
}

fn entry() -> Entry {
    static IDS: std::sync::LazyLock<MessageIds> = std::sync::LazyLock::new(|| MessageIds::new([1; 6], 1));
    let room = Rooms::new(1).try_reserve(1).expect("it is empty");
    Entry { id: IDS.next(Duration::ZERO), waiter: Waiter::OneWay, room: Some(room) }
}

/// Adds `count` messages of `bytes` bytes each.
fn push(lane: &mut Lane, count: usize, bytes: usize, now: Instant) {
    for _ in 0..count {
        lane.batch_for(bytes, now).push(entry(), |_, request| request.put_bytes(7, bytes));
    }
}

fn send(lane: &mut Lane, now: Instant) -> Option<(usize, SendHeaders)> {
    match lane.next(now)? {
        Step::Send { batch, headers, .. } => Some((batch.entries.len(), headers)),
        Step::Expire(_) => panic!("nothing is late here"),
    }
}

fn headers_at(sequence: u64, lowest: u64) -> SendHeaders {
    SendHeaders { producer: 0xAB, epoch: 1, sequence, lowest, again: false }
}

#[test]
fn an_idle_lane_sends_a_single_message_at_once() {
    let now = Instant::now();
    let mut lane = lane(Order::Free, 512, 4);
    assert_eq!(lane.leaves_at(), None);
    push(&mut lane, 1, 100, now);
    assert_eq!(lane.leaves_at(), Some(now));
    let (count, headers) = send(&mut lane, now).unwrap();
    assert_eq!((count, headers), (1, headers_at(0, 0)));
}

#[test]
fn what_comes_while_a_request_is_in_flight_travels_together() {
    let now = Instant::now();
    let mut lane = lane(Order::Free, 512, 4);
    push(&mut lane, 1, 100, now);
    let (_, first) = send(&mut lane, now).unwrap();
    push(&mut lane, 20, 100, now);
    assert!(send(&mut lane, now).is_none(), "few bytes wait for an answer");
    lane.ended(first);
    let (count, headers) = send(&mut lane, now).unwrap();
    assert_eq!((count, headers.sequence), (20, 1));
}

#[test]
fn little_waits_a_moment_for_an_answer_and_then_goes_if_there_is_room() {
    let now = Instant::now();
    let mut lane = lane(Order::Free, 512, 2);
    push(&mut lane, 1, 100, now);
    send(&mut lane, now).unwrap();
    push(&mut lane, 1, 100, now);
    push(&mut lane, 1, 100, now + LITTLE_WAITS_MAX / 2);
    let due = now + LITTLE_WAITS_MAX;
    assert_eq!(lane.leaves_at(), Some(due), "counted from the first of them");
    assert!(send(&mut lane, due - Duration::from_nanos(1)).is_none());
    assert_eq!(send(&mut lane, due).unwrap().0, 2);
    push(&mut lane, 1, 100, due);
    assert_eq!(lane.leaves_at(), None, "two are in flight");
}

#[test]
fn a_busy_lane_sends_more_requests_once_enough_waits_and_never_more_than_its_bound() {
    let now = Instant::now();
    let mut lane = lane(Order::Free, 512, 3);
    for in_flight in 1..=3 {
        push(&mut lane, 40, 1024, now);
        assert!(send(&mut lane, now).is_some(), "request {in_flight}");
    }
    push(&mut lane, 60, 1024, now);
    assert!(send(&mut lane, now).is_none());
}

#[test]
fn a_busy_lane_does_not_split_its_messages_into_ever_smaller_requests() {
    let now = Instant::now();
    let limits = Limits { messages_max: 512, bytes_max: 1 << 20, in_flight_max: 4, send_timeout: TIMEOUT };
    let mut lane = Lane::new(Order::Free, limits, 0xAB);
    push(&mut lane, 200, 1024, now);
    let (_, first) = send(&mut lane, now).unwrap();
    push(&mut lane, 199, 1024, now);
    assert!(send(&mut lane, now).is_none(), "fewer bytes than the average request in flight has");
    push(&mut lane, 1, 1024, now);
    assert_eq!(send(&mut lane, now).unwrap().0, 200);
    lane.ended(first);
}

#[test]
fn batches_are_bounded_by_count_and_by_bytes() {
    let now = Instant::now();
    let mut lane = lane(Order::Free, 10, 4);
    push(&mut lane, 25, 8, now);
    assert_eq!(send(&mut lane, now).unwrap().0, 10);
    assert_eq!(send(&mut lane, now).unwrap().0, 10);
    let mut lane = super::tests::lane(Order::Free, 512, 4);
    push(&mut lane, 5, 30 << 10, now);
    assert_eq!(send(&mut lane, now).unwrap().0, 2, "two of 30 KiB fit into 64 KiB");
    push(&mut lane, 1, 1 << 20, now);
    assert_eq!(send(&mut lane, now).unwrap().0, 2);
    assert_eq!(send(&mut lane, now).unwrap().0, 1);
    assert_eq!(send(&mut lane, now).unwrap().0, 1, "a message larger than a batch travels alone");
}

#[test]
fn messages_far_apart_in_time_do_not_share_a_deadline() {
    let now = Instant::now();
    let mut lane = lane(Order::Free, 512, 1);
    push(&mut lane, 1, 8, now);
    let (_, first) = send(&mut lane, now).unwrap();
    push(&mut lane, 2, 8, now);
    push(&mut lane, 3, 8, now + TIMEOUT / 4);
    lane.ended(first);
    assert_eq!(send(&mut lane, now).unwrap().0, 2);
}

#[test]
fn a_batch_whose_time_passed_before_it_was_sent_expires_without_a_sequence() {
    let now = Instant::now();
    let mut lane = lane(Order::Free, 512, 1);
    push(&mut lane, 1, 8, now);
    let (_, first) = send(&mut lane, now).unwrap();
    push(&mut lane, 2, 8, now);
    lane.ended(first);
    let late = now + TIMEOUT;
    assert!(matches!(lane.next(late), Some(Step::Expire(batch)) if batch.entries.len() == 2));
    push(&mut lane, 1, 8, late);
    assert_eq!(send(&mut lane, late).unwrap().1.sequence, 1);
}

/// Hazard 16: a repeat must still find its result in the broker's window.
#[test]
fn unfinished_sequences_stay_within_the_broker_s_window() {
    let now = Instant::now();
    let mut lane = lane(Order::Free, 1024, 4);
    let stuck = {
        push(&mut lane, 1024, 40, now);
        send(&mut lane, now).unwrap().1
    };
    let mut highest = 0;
    for _ in 0..10 {
        push(&mut lane, 1024, 40, now);
        let Some((count, headers)) = send(&mut lane, now) else { continue };
        highest = headers.sequence + count as u64;
        lane.ended(headers);
    }
    assert_eq!(stuck.sequence, 0);
    assert_eq!(highest, SEQUENCE_SPAN_MAX, "the lane waits for the stuck request");
    lane.ended(stuck);
    assert_eq!(send(&mut lane, now).unwrap().1.sequence, SEQUENCE_SPAN_MAX);
}

#[test]
fn a_fifo_lane_has_one_request_in_flight_whatever_waits() {
    let now = Instant::now();
    let mut lane = lane(Order::Fifo, 10, 4);
    push(&mut lane, 1000, 100, now);
    let (_, first) = send(&mut lane, now).unwrap();
    assert!(send(&mut lane, now).is_none());
    lane.ended(first);
    // However the first one ended: it is below the lowest, so the broker takes a gap there and stores it no more.
    assert_eq!(send(&mut lane, now).unwrap().1, headers_at(10, 10));
}

/// Hazard 16: the broker keeps what is at or above the lowest sequence in flight.
#[test]
fn each_request_tells_the_lowest_sequence_in_flight() {
    let now = Instant::now();
    let mut lane = lane(Order::Free, 40, 4);
    let mut sent = Vec::new();
    for lowest in [0, 0, 0] {
        push(&mut lane, 40, 1024, now);
        let (_, headers) = send(&mut lane, now).unwrap();
        assert_eq!(headers, headers_at(sent.len() as u64 * 40, lowest));
        sent.push(headers);
    }
    lane.ended(sent[1]);
    push(&mut lane, 40, 1024, now);
    assert_eq!(send(&mut lane, now).unwrap().1, headers_at(120, 0), "the first is still in flight");
    lane.ended(sent[0]);
    push(&mut lane, 40, 1024, now);
    assert_eq!(send(&mut lane, now).unwrap().1, headers_at(160, 80));
}

#[test]
fn a_whole_batch_travels_alone_and_in_its_turn() {
    let now = Instant::now();
    let mut lane = lane(Order::Free, 512, 4);
    push(&mut lane, 2, 8, now);
    let mut whole = Batch::new(now, Formed::ByApplication);
    for _ in 0..3 {
        whole.push(entry(), |_, request| request.put_slice(&Bytes::from_static(b"12345678")));
    }
    lane.push_whole(whole);
    push(&mut lane, 1, 8, now);
    assert_eq!(send(&mut lane, now).unwrap().0, 2);
    assert_eq!(send(&mut lane, now).unwrap().0, 3);
    assert!(send(&mut lane, now).is_none(), "the last one waits: requests are in flight");
}

#[test]
fn messages_of_a_refused_batch_go_alone_and_first() {
    let now = Instant::now();
    let mut lane = lane(Order::Fifo, 512, 1);
    for bytes in [5, 6, 7] {
        push(&mut lane, 1, bytes, now);
    }
    let Some(Step::Send { mut batch, headers, .. }) = lane.next(now) else { panic!("three wait") };
    push(&mut lane, 1, 8, now);
    let request = batch.take_request();
    lane.ended(headers);
    lane.again_by_themselves(batch, &request);
    for (bytes, sequence) in [(5, 3), (6, 4), (7, 5), (8, 6)] {
        let Some(Step::Send { batch, headers, .. }) = lane.next(now) else { panic!("one waits") };
        assert_eq!((batch.entries.len(), batch.request.len(), headers.sequence), (1, bytes, sequence));
        assert!(!batch.can_part());
        lane.ended(headers);
    }
}

#[test]
fn a_shut_lane_is_idle_once_everything_has_ended() {
    let now = Instant::now();
    let mut lane = lane(Order::Free, 512, 4);
    push(&mut lane, 1, 8, now);
    lane.shut();
    assert!(lane.is_shut() && !lane.is_idle());
    let (_, headers) = send(&mut lane, now).unwrap();
    assert!(!lane.is_idle());
    lane.ended(headers);
    assert!(lane.is_idle());
}
