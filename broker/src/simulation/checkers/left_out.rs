//! A receive with room to spare gives everything that its group could be given.

use std::collections::BTreeSet;

use crate::model::{QueueId, TagFilter};
use crate::simulation::deliveries::{Delivery, Stand};
use crate::simulation::ledger::{Applied, Ledger};
use crate::simulation::log::Log;
use crate::simulation::order::Order;
use crate::state::{DeliveryKey, Outcome, Receive};

pub(super) fn check(ledger: &Ledger, _: &Log, applied: &Applied<'_>) -> Result<(), String> {
    let (Order::Receive(receive), Outcome::Received(received)) = (applied.order, applied.outcome) else {
        return Ok(());
    };
    if received.more || received.picks.len() >= usize::from(receive.messages_max) || receive.queue.is_some() {
        return Ok(());
    }
    let key = |queue, offset| DeliveryKey { topic: receive.topic, group: receive.group, queue, offset };
    let picked: BTreeSet<_> = received.picks.iter().map(|pick| key(pick.queue, pick.offset.0)).collect();
    let blocks = |key: &DeliveryKey| ledger.deliveries.get(key).is_some_and(Delivery::blocks);
    if picked.iter().any(blocks) {
        // The answer to an earlier attempt.
        return Ok(());
    }
    let Some(topic) = ledger.topics.get(&receive.topic) else { return Ok(()) };
    let fifo = ledger.groups[&receive.group].fifo;
    for (queue, messages) in (0..).map(QueueId).zip(&topic.queues) {
        for offset in 0..messages.len() as u64 {
            let key = key(queue, offset);
            if deliverable(ledger, receive, key)
                && !picked.contains(&key)
                && !(fifo && ledger.lane(key).iter().any(blocks))
            {
                return Err(format!("{key:?} was left out: {:?}", ledger.deliveries.get(&key)));
            }
        }
    }
    Ok(())
}

/// Whether a group can be given a message, if nothing of its message group is under way.
pub(in crate::simulation) fn deliverable(ledger: &Ledger, receive: &Receive, key: DeliveryKey) -> bool {
    let Some(stored) = ledger.message(key) else { return false };
    let wanted = match &receive.filter {
        TagFilter::All => true,
        TagFilter::Tags(tags) => tags.contains(stored.message.tag),
    };
    match ledger.deliveries.get(&key) {
        Some(of) => of.stand == Stand::Due && (of.attempt > 0 || wanted),
        None => wanted && !ledger.passed(key.group, stored) && !ledger.unwanted.contains(&key),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, again};

    #[test]
    fn a_message_that_is_not_given_is_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0, 1], None).unwrap();
        rig.expect("left out", |rig| rig.receive_with_room(&[(0, 1)]));
        rig.receive_with_room(&[(0, 1), (1, 1)]).unwrap();
        rig.receive_with_room(&[]).unwrap();
        rig.pass(again());
        rig.expect("left out", |rig| rig.receive_with_room(&[]));
    }
}
