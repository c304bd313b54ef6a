//! In a FIFO group nobody gets a message before the earlier ones of its message group are done with, or come to the same receiver
//! with it; and once a later one was given in its turn, an earlier one that was never given does not come any more.

use std::collections::BTreeSet;

use crate::simulation::deliveries::Stand;
use crate::simulation::ledger::{Applied, Ledger, Standing};
use crate::simulation::log::Log;
use crate::simulation::order::Order;
use crate::simulation::progress::Lane;
use crate::state::{DeliveryKey, Outcome};

pub(super) fn check(ledger: &Ledger, _: &Log, applied: &Applied<'_>) -> Result<(), String> {
    let (Order::Receive(receive), Outcome::Received(received)) = (applied.order, applied.outcome) else {
        return Ok(());
    };
    let fifo = ledger.groups.get(&receive.group).is_some_and(|group| group.fifo);
    let mut with_it = BTreeSet::new();
    for pick in &received.picks {
        let key = DeliveryKey { topic: receive.topic, group: receive.group, queue: pick.queue, offset: pick.offset.0 };
        let before = ledger.deliveries.get(&key);
        let new = before.is_none_or(|of| of.attempt == 0);
        let lane = ledger.lane_of(key);
        let reached = lane.and_then(|lane| ledger.progress.get(&(key.topic, key.group))?.reached(lane));
        if let Some(later) = reached.filter(|reached| new && *reached > key.offset) {
            return Err(format!("{key:?} comes for the first time after {later} of its message group"));
        }
        // An attempt that is repeated gets what it still holds of what it got.
        let again = before.is_some_and(|of| of.stand == Stand::Hidden);
        if let Some(lane) = lane.filter(|_| fifo && !again)
            && let Some(earlier) = overtaken(ledger, key, lane, &with_it)
        {
            return Err(format!("{key:?} comes before {earlier:?} of its message group"));
        }
        with_it.insert(key);
    }
    Ok(())
}

/// A message of a message group before another that is there to be given, or given to somebody.
fn overtaken(ledger: &Ledger, key: DeliveryKey, lane: Lane, with_it: &BTreeSet<DeliveryKey>) -> Option<DeliveryKey> {
    let progress = ledger.progress.get(&(key.topic, key.group));
    let of = |offset| DeliveryKey { offset, ..key };
    let taken = ledger.deliveries.open_of(key.topic, key.group).map(|(other, _)| other);
    let waits = progress.into_iter().flat_map(|of| of.waiting()).filter(|(other, _)| *other == lane);
    let fresh = progress.map_or(0, |progress| progress.taken(key.queue))..key.offset;
    let others = taken.chain(waits.map(|(_, offset)| of(offset))).chain(fresh.map(of));
    let mut earlier = others.filter(|other| (other.queue, other.offset < key.offset) == (key.queue, true));
    earlier.find(|other| {
        let there = matches!(ledger.standing(*other), Standing::Fresh | Standing::Waits(_) | Standing::Taken);
        there && ledger.lane_of(*other) == Some(lane) && !with_it.contains(other)
    })
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, again};

    #[test]
    fn an_overtaken_message_is_noticed() {
        let mut rig = Rig::fifo();
        rig.publish(&[0, 1, 2], None).unwrap();
        rig.expect("message order", |rig| rig.receive(&[(1, 1)]));
        rig.expect("message order", |rig| rig.receive(&[(0, 1), (2, 1), (1, 1)]));
        rig.receive(&[(0, 1), (1, 1)]).unwrap();
        rig.ack(0).unwrap();
        rig.expect("message order", |rig| rig.receive(&[(2, 1)]));
        rig.ack(1).unwrap();
        rig.receive(&[(2, 1)]).unwrap();
    }

    /// What retention asks for excuses nobody who is overtaken while it is there.
    #[test]
    fn an_overtaken_message_that_retention_wants_is_noticed() {
        let mut rig = Rig::fifo();
        (0..3).for_each(|offset| rig.publish(&[offset], None).unwrap());
        rig.receive(&[(0, 1)]).unwrap();
        rig.receive_with_room(&[]).unwrap();
        rig.trim(2, 0).unwrap();
        rig.pass(again());
        rig.expect("message order", |rig| rig.receive(&[(0, 2), (2, 1)]));
        rig.receive(&[(0, 2), (1, 1), (2, 1)]).unwrap();
    }

    /// One that was passed over because it had expired does not come after those behind it.
    #[test]
    fn a_message_that_comes_for_the_first_time_after_a_later_one_is_noticed() {
        let mut rig = Rig::fifo();
        (0..3).for_each(|offset| rig.publish(&[offset], None).unwrap());
        rig.trim(1, 1).unwrap();
        rig.receive(&[(1, 1)]).unwrap();
        rig.ack(1).unwrap();
        rig.expect("message order", |rig| rig.receive(&[(0, 1)]));
        rig.receive(&[(2, 1)]).unwrap();
    }
}
