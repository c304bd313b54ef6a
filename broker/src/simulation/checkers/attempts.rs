//! A message is with one receiver of a group at a time, its attempts count up by one, and what is done with does not come again.

use crate::simulation::deliveries::Stand;
use crate::simulation::ledger::{Applied, Ledger};
use crate::simulation::log::Log;
use crate::simulation::order::Order;
use crate::state::{DeliveryKey, Outcome, Pick, Receive};

pub(super) fn check(ledger: &Ledger, _: &Log, applied: &Applied<'_>) -> Result<(), String> {
    let (Order::Receive(receive), Outcome::Received(received)) = (applied.order, applied.outcome) else {
        return Ok(());
    };
    if !ledger.lives(receive.topic, receive.group) {
        return Err(format!("{:?} receives from {:?}, of which one is gone", receive.group, receive.topic));
    }
    let held = |pick: &Pick| ledger.deliveries.get(&key_of(receive, pick)).is_some_and(|of| of.stand == Stand::Hidden);
    // An attempt that is repeated gets what it holds, however much that is.
    if received.picks.len() > usize::from(receive.messages_max) && !received.picks.iter().all(held) {
        return Err(String::from("it got more than it asked for"));
    }
    received.picks.iter().try_for_each(|pick| check_pick(ledger, receive, pick, applied))
}

fn key_of(receive: &Receive, pick: &Pick) -> DeliveryKey {
    DeliveryKey { topic: receive.topic, group: receive.group, queue: pick.queue, offset: pick.offset.0 }
}

fn check_pick(ledger: &Ledger, receive: &Receive, pick: &Pick, applied: &Applied<'_>) -> Result<(), String> {
    let key = key_of(receive, pick);
    let (attempt, nonce) = match ledger.deliveries.get(&key) {
        Some(before) if before.is_done() => return Err(format!("{key:?} is delivered again after {:?}", before.stand)),
        Some(before) if before.stand == Stand::Exhausted => return Err(format!("{key:?} has no attempts left")),
        Some(before) if before.stand == Stand::Hidden => {
            let repeat =
                ledger.groups[&key.group].fifo && !receive.attempt.is_none() && before.attempt_key == receive.attempt;
            if !repeat {
                return Err(format!("{key:?} is with somebody else: {before:?}"));
            }
            (before.attempt, before.nonce)
        }
        Some(before) => (before.attempt + u16::from(!before.suspended), applied.index.0),
        None => (1, applied.index.0),
    };
    if (pick.attempt, pick.nonce) != (attempt.max(1), nonce) {
        return Err(format!(
            "{key:?} comes as attempt {} of {}, expected {attempt} of {nonce}",
            pick.attempt, pick.nonce
        ));
    }
    if pick.deadline.0 <= ledger.clock { Err(format!("{key:?} is over as it begins")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, again};

    #[test]
    fn two_receivers_at_once_a_skipped_attempt_and_a_second_life_are_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0, 1], None).unwrap();
        rig.receive(&[(0, 1), (1, 1)]).unwrap();
        rig.expect("attempts", |rig| rig.receive(&[(0, 2)]));
        rig.pass(again());
        rig.expect("attempts", |rig| rig.receive(&[(0, 3)]));
        rig.receive(&[(0, 2)]).unwrap();
        rig.ack(0).unwrap();
        rig.pass(again());
        rig.expect("attempts", |rig| rig.receive(&[(0, 3), (1, 2)]));
    }
}
