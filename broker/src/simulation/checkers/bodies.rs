//! What is delivered lies where the delivery says, at or behind the readable start, and is what was published: whatever moved,
//! and wherever it is a dead letter.

use crate::model::MessageGroupKey;
use crate::simulation::deliveries::Delivery;
use crate::simulation::ledger::{Applied, Found, Ledger};
use crate::simulation::log::Log;
use crate::simulation::order::Order;
use crate::state::{DeliveryKey, Outcome, Pick, StoredMessage};

pub(super) fn check(ledger: &Ledger, log: &Log, applied: &Applied<'_>) -> Result<(), String> {
    let (Order::Receive(receive), Outcome::Received(received)) = (applied.order, applied.outcome) else {
        return Ok(());
    };
    for pick in &received.picks {
        let key = DeliveryKey { topic: receive.topic, group: receive.group, queue: pick.queue, offset: pick.offset.0 };
        let of = known(ledger, key, pick)?;
        if pick.position.index < ledger.start {
            return Err(format!("{key:?} lies at {}, below the start at {}", pick.position.index, ledger.start));
        }
        let before: Option<&Delivery> = ledger.deliveries.get(&key);
        let at = before.map_or(of.at, |before| before.at);
        if at != pick.position.index {
            return Err(format!("{key:?} lies at {}, expected {at:?}", pick.position.index));
        }
        let payload = log.payload(pick.position.index).ok_or_else(|| format!("{key:?} lies in no commands"))?;
        let read = StoredMessage::read(&payload, pick.position).map_err(|error| format!("{key:?}: {error}"))?;
        if read.body != of.stored.message.body
            || read.tag != of.stored.message.tag
            || read.group != MessageGroupKey::of(of.stored.message.key)
        {
            return Err(format!("{key:?} is {:?}, published was {:?}", read.body, of.stored.message.body));
        }
    }
    Ok(())
}

/// What was published, or buried.
fn known<'a>(ledger: &'a Ledger, key: DeliveryKey, pick: &Pick) -> Result<Found<'a>, String> {
    let found = ledger.found(key.topic, key.queue, key.offset);
    let found = found.ok_or_else(|| format!("{key:?} was neither published nor buried"))?;
    if found.origin == pick.origin {
        return Ok(found);
    }
    Err(format!("{key:?} comes from {:?}, expected {:?}", pick.origin, found.origin))
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;

    #[test]
    fn another_body_and_one_that_is_gone_are_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0, 1], None).unwrap();
        rig.lies_at(1, 0);
        rig.expect("bodies", |rig| rig.receive(&[(1, 1)]));
        rig.lies_at(1, 1);
        rig.lies_at(0, 1);
        rig.expect("bodies", |rig| rig.receive(&[(0, 1)]));
        rig.lies_at(0, 0);
        rig.trim_past_all();
        rig.expect("bodies", |rig| rig.receive(&[(0, 1)]));
    }
}
