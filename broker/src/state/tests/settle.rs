use std::time::Duration;

use raft_log::StateMachine;
use raft_log::types::{LogIndex, UnixMillis};

use super::harness::{INVISIBLE_MS, Rig, attempts, handle, offsets, receive};
use crate::model::{ClientKey, ConsumerGroupId, GroupSettings, TopicId, TopicType};
use crate::state::apply_limits::EXPIRED_MAX;
use crate::state::{
    ChangeInvisible, Holder, NeededBody, Outcome, Pick, RENEWAL_AGE_MAX, RenewLeases, Settled, relocate, tick,
};

fn rig(messages: usize) -> (Rig, TopicId, ConsumerGroupId) {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    let group = rig.group("g", GroupSettings::default());
    rig.publish(topic, &vec![(0, "", ""); messages]);
    (rig, topic, group)
}

#[test]
fn the_consumer_offset_is_the_first_that_is_not_done() {
    let (mut rig, topic, group) = rig(5);
    let picks = rig.receive(group, topic, 4);
    assert_eq!(rig.ack(group, topic, &picks[2..4]), [Settled::Done, Settled::Done]);
    let progress = |rig: &Rig| rig.reader().progress(group, topic).unwrap()[0];
    assert_eq!((progress(&rig).offset.0, progress(&rig).pending, progress(&rig).lag()), (0, 2, 3));
    rig.ack(group, topic, &picks[..1]);
    assert_eq!(progress(&rig).offset.0, 1);
    rig.ack(group, topic, &picks[1..2]);
    assert_eq!((progress(&rig).offset.0, progress(&rig).pending, progress(&rig).lag()), (4, 0, 1));
    rig.pass(INVISIBLE_MS);
    assert_eq!(offsets(&rig.receive(group, topic, 9)), [4], "what is acknowledged never returns");
}

#[test]
fn an_ack_may_be_repeated() {
    let (mut rig, topic, group) = rig(1);
    let picks = rig.receive(group, topic, 1);
    assert_eq!(rig.ack(group, topic, &picks), [Settled::Done]);
    assert_eq!(rig.ack(group, topic, &picks), [Settled::Already]);
}

#[test]
fn an_expired_handle_is_refused_whether_redelivered_or_not() {
    let (mut rig, topic, group) = rig(1);
    let first = rig.receive(group, topic, 1);
    rig.pass(INVISIBLE_MS);
    assert_eq!(rig.ack(group, topic, &first), [Settled::Expired]);
    assert_eq!(rig.change(group, topic, &first[0], 1), Err(Settled::Expired));
    let second = rig.receive(group, topic, 1);
    assert_eq!(rig.ack(group, topic, &first), [Settled::Expired]);
    assert_eq!(rig.ack(group, topic, &second), [Settled::Done]);
    assert_eq!(rig.ack(group, topic, &first), [Settled::Expired]);
}

#[test]
fn handles_of_other_groups_topics_and_places_are_refused() {
    let (mut rig, topic, group) = rig(1);
    let other = rig.group("other", GroupSettings::default());
    let picks = rig.receive(group, topic, 1);
    assert_eq!(rig.ack(other, topic, &picks), [Settled::Unknown]);
    let mut wrong = picks[0];
    wrong.offset = wrong.offset.next();
    assert_eq!(rig.ack(group, topic, &[wrong]), [Settled::Unknown]);
    wrong = picks[0];
    wrong.nonce += 1;
    assert_eq!(rig.ack(group, topic, &[wrong]), [Settled::Expired]);
    assert_eq!(rig.ack(group, topic, &picks), [Settled::Done]);
}

#[test]
fn a_change_moves_the_one_timer_and_the_old_handle_still_acks() {
    let (mut rig, topic, group) = rig(1);
    let picks = rig.receive(group, topic, 1);
    let deadline = rig.change(group, topic, &picks[0], 60_000).unwrap();
    assert_eq!(deadline, UnixMillis(rig.now + 60_000));
    rig.pass(INVISIBLE_MS);
    assert!(rig.receive(group, topic, 1).is_empty(), "the first timer is gone");
    assert_eq!(rig.ack(group, topic, &picks), [Settled::Done], "the old handle works");
    rig.pass(60_000);
    assert!(rig.receive(group, topic, 1).is_empty());
}

#[test]
fn a_change_after_the_ack_is_refused_and_nothing_returns() {
    let (mut rig, topic, group) = rig(1);
    let picks = rig.receive(group, topic, 1);
    rig.ack(group, topic, &picks);
    assert_eq!(rig.change(group, topic, &picks[0], 0), Err(Settled::Already));
    rig.pass(2 * INVISIBLE_MS);
    assert!(rig.receive(group, topic, 1).is_empty());
}

#[test]
fn a_message_that_is_given_back_comes_at_once_with_the_next_attempt() {
    let (mut rig, topic, group) = rig(1);
    let first = rig.receive(group, topic, 1);
    rig.change(group, topic, &first[0], 0).unwrap();
    let second = rig.receive(group, topic, 1);
    assert_eq!(attempts(&second), [2]);
    let suspend = ChangeInvisible { group, topic, entry: handle(&second[0]), invisible_ms: 0, suspend: true };
    rig.changed(&suspend).unwrap();
    let third = rig.receive(group, topic, 1);
    assert_eq!(attempts(&third), [2], "a suspended delivery does not count");
    rig.change(group, topic, &third[0], 0).unwrap();
    assert_eq!(attempts(&rig.receive(group, topic, 1)), [3]);
}

#[tokio::test]
async fn a_message_that_is_given_back_wakes_a_waiting_poll() {
    let (mut rig, topic, group) = rig(1);
    let picks = rig.receive(group, topic, 1);
    let reader = rig.reader();
    reader.events().changed().await;
    rig.change(group, topic, &picks[0], 0).unwrap();
    assert_eq!(reader.events().changed().await, [topic].into());
    assert_eq!(reader.ready(group, topic).redeliveries, 1);
}

fn leased(rig: &mut Rig, topic: TopicId, group: ConsumerGroupId, client: ClientKey, count: u16) -> Vec<Pick> {
    let mut request = receive(group, topic, count);
    request.auto_renew = client;
    rig.received(&request).picks
}

#[test]
fn what_a_client_holds_is_hidden_while_its_lease_is_renewed_but_not_for_ever() {
    let (mut rig, topic, group) = rig(3);
    let client = ClientKey::of("client");
    let held = leased(&mut rig, topic, group, client, 2);
    rig.receive(group, topic, 1);
    let renew = RenewLeases { clients: vec![client], invisible_ms: INVISIBLE_MS, shorten: false }.encode();
    let begin = rig.now;
    rig.pass(INVISIBLE_MS / 2);
    assert_eq!(rig.reader().leases_ending(UnixMillis(rig.now + INVISIBLE_MS), 9), [client]);
    assert_eq!(rig.one(&renew), Outcome::Renewed(1), "one record, whatever the client holds");
    rig.pass(INVISIBLE_MS / 2);
    let other = rig.receive(group, topic, 9);
    assert_eq!(offsets(&other), [2], "only the other one comes again");
    rig.ack(group, topic, &other);
    assert_eq!(rig.ack(group, topic, &held[..1]), [Settled::Done], "the handle acks all the while");
    while Duration::from_millis(rig.now - begin) < RENEWAL_AGE_MAX {
        assert_eq!(rig.one(&renew), Outcome::Renewed(1));
        assert_eq!(rig.reader().ready(group, topic).redeliveries, 0);
        rig.pass(INVISIBLE_MS / 2);
    }
    assert_eq!(offsets(&rig.receive(group, topic, 1)), [1], "too old to be kept");
    assert_eq!(rig.ack(group, topic, &held), [Settled::Expired, Settled::Expired]);
    assert_eq!(rig.one(&renew), Outcome::Renewed(0), "nothing is on the lease");
    assert!(rig.reader().leases_ending(UnixMillis(u64::MAX), 9).is_empty());
}

#[test]
fn a_lease_that_ended_is_over_and_its_deliveries_end_some_with_each_tick() {
    let count = EXPIRED_MAX + 5;
    let (mut rig, topic, group) = rig(count + 1);
    let client = ClientKey::of("client");
    let mut held = Vec::new();
    while held.len() < count {
        let left = u16::try_from(count - held.len()).unwrap();
        held.extend(leased(&mut rig, topic, group, client, left.min(500)));
    }
    rig.now += INVISIBLE_MS;
    rig.one(&tick());
    let due = rig.reader().ready(group, topic).redeliveries as usize;
    assert!(due < count, "{due}");
    assert!(rig.reader().next_due().unwrap() <= UnixMillis(rig.now), "the rest is due at once");
    assert_eq!(rig.ack(group, topic, &held[count - 1..]), [Settled::Done], "until then it is a delivery");
    // The client comes back: that is another lease, which keeps nothing of what was before.
    let before = (rig.digest(), rig.reader().next_due());
    rig.crash_and_replay();
    assert_eq!((rig.digest(), rig.reader().next_due()), before);
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    assert_eq!(rig.reader().next_due(), before.1, "also from the store");
    let again = leased(&mut rig, topic, group, client, 1);
    rig.one(&tick());
    assert_eq!(rig.reader().ready(group, topic).redeliveries as usize, count - 2);
    assert_eq!(rig.ack(group, topic, &again), [Settled::Done]);
}

/// The body of the last delivery on a lease that has ended is moved before a tick comes to it.
#[test]
fn a_lease_that_ended_stays_so_when_a_body_moves() {
    let (mut rig, topic, group) = rig(EXPIRED_MAX);
    let client = ClientKey::of("client");
    let mut held = Vec::new();
    while held.len() < EXPIRED_MAX {
        let left = u16::try_from(EXPIRED_MAX - held.len()).unwrap();
        held.extend(leased(&mut rig, topic, group, client, left.min(500)));
    }
    rig.now += INVISIBLE_MS;
    rig.one(&tick());
    assert_eq!(
        rig.reader().ready(group, topic).redeliveries as usize,
        EXPIRED_MAX - 1,
        "the lease's end counts as well"
    );
    let end = LogIndex(rig.log.len() as u64);
    let last = held[EXPIRED_MAX - 1].offset.0;
    let bodies: Vec<_> = rig.needed_bodies(end, EXPIRED_MAX);
    let of_last = |body: &&NeededBody| matches!(body.holders[0], Holder::Delivery(key) if key.offset == last);
    let body = bodies.iter().find(of_last).unwrap().clone();
    assert_eq!(rig.one(&relocate(&[body])), Outcome::Relocated(1));
    let running = rig.reader().next_due();
    assert!(running.unwrap() <= UnixMillis(rig.now), "it is still to end");
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    assert_eq!(rig.reader().next_due(), running, "a node that starts again knows the same");
    rig.one(&tick());
    assert_eq!(rig.reader().ready(group, topic).redeliveries as usize, EXPIRED_MAX);
}

#[test]
fn a_change_takes_a_delivery_off_its_lease() {
    let (mut rig, topic, group) = rig(2);
    let client = ClientKey::of("client");
    let held = leased(&mut rig, topic, group, client, 2);
    rig.change(group, topic, &held[0], 3 * INVISIBLE_MS).unwrap();
    rig.pass(INVISIBLE_MS);
    let other = rig.receive(group, topic, 9);
    assert_eq!(offsets(&other), [1], "the lease has ended");
    rig.ack(group, topic, &other);
    rig.pass(2 * INVISIBLE_MS);
    assert_eq!(offsets(&rig.receive(group, topic, 1)), [0]);
}

#[test]
fn a_client_that_leaves_gives_its_deliveries_up_early() {
    let (mut rig, topic, group) = rig(1);
    let client = ClientKey::of("client");
    let mut request = receive(group, topic, 1);
    (request.auto_renew, request.invisible_ms) = (client, 60_000);
    rig.received(&request);
    let leave = RenewLeases { clients: vec![client], invisible_ms: 5_000, shorten: true };
    assert_eq!(rig.one(&leave.encode()), Outcome::Renewed(1));
    rig.pass(5_000);
    assert_eq!(rig.receive(group, topic, 1).len(), 1);
}
