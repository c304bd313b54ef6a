//! In a FIFO group nobody gets a message before the earlier ones of its message group are done with, or come to the same receiver
//! with it.

use std::collections::BTreeSet;

use crate::simulation::deliveries::Stand;
use crate::simulation::ledger::{Applied, Ledger};
use crate::simulation::log::Log;
use crate::simulation::order::Order;
use crate::state::{DeliveryKey, Outcome};

pub(super) fn check(ledger: &Ledger, _: &Log, applied: &Applied<'_>) -> Result<(), String> {
    let (Order::Receive(receive), Outcome::Received(received)) = (applied.order, applied.outcome) else {
        return Ok(());
    };
    if !ledger.groups.get(&receive.group).is_some_and(|group| group.fifo) {
        return Ok(());
    }
    let mut with_it = BTreeSet::new();
    for pick in &received.picks {
        let key = DeliveryKey { topic: receive.topic, group: receive.group, queue: pick.queue, offset: pick.offset.0 };
        // An attempt that is repeated gets what it still holds of what it got.
        let again = ledger.deliveries.get(&key).is_some_and(|of| of.stand == Stand::Hidden);
        let lane = if again { Vec::new() } else { ledger.lane(key) };
        for earlier in lane.iter().take_while(|other| other.offset < key.offset) {
            let passed = match ledger.deliveries.get(earlier) {
                Some(of) => of.is_done(),
                None => ledger.message(*earlier).is_some_and(|stored| ledger.passed(key.group, stored)),
            };
            if !passed && !with_it.contains(earlier) {
                return Err(format!("{key:?} comes before {} of its message group", earlier.offset));
            }
        }
        with_it.insert(key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;

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
}
