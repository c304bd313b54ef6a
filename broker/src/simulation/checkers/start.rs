//! The readable start never falls, never comes further than retention asked, and passes over nothing that a group has taken and
//! not finished; a relocation moves whoever still needs a body, and nobody else (hazards 23).

use raft_log::types::LogIndex;

use crate::model::QueueId;
use crate::simulation::deliveries::Delivery;
use crate::simulation::ledger::{Applied, Ledger, Stored};
use crate::simulation::log::Log;
use crate::simulation::order::Order;
use crate::state::{DeliveryKey, Outcome};

pub(super) fn check(ledger: &Ledger, _: &Log, applied: &Applied<'_>) -> Result<(), String> {
    match (applied.order, applied.outcome) {
        (Order::Trim(to) | Order::Release(to), Outcome::Trimmed { start }) => {
            if *start < ledger.start || *start > ledger.start.max(*to).min(applied.index.max(ledger.start)) {
                return Err(format!("asked for {to}, the start goes from {} to {start}", ledger.start));
            }
            if let (Order::Release(_), Some((key, stored))) = (applied.order, unread(ledger, *start)) {
                return Err(format!("a release to {start} passes over {key:?}, unread at {}", stored.index));
            }
            match ledger.pending().find(|(_, of)| of.at < *start) {
                Some((key, of)) => Err(format!("the start goes to {start}, over {key:?} at {}", of.at)),
                None => Ok(()),
            }
        }
        (Order::Relocate(bodies), Outcome::Relocated(moved)) => {
            let holders = bodies.iter().flat_map(|body| body.holders.iter().map(|holder| (holder, body.from.index)));
            let known: Option<Vec<_>> = holders.map(|(holder, from)| ledger.holds(holder, from)).collect();
            // Of others it does not stand in the ledger whether they move.
            let Some(known) = known else { return Ok(()) };
            let ends = |key| ledger.deliveries.get(key).is_some_and(Delivery::ends_when_moved);
            let expected = known.iter().filter(|(key, holds)| *holds && !ends(key)).count();
            if *moved as usize == expected { Ok(()) } else { Err(format!("{moved} bodies moved, expected {expected}")) }
        }
        _ => Ok(()),
    }
}

/// A message before an entry that is there and that a group has yet to read.
fn unread(ledger: &Ledger, start: LogIndex) -> Option<(DeliveryKey, &Stored)> {
    if start <= ledger.start {
        return None;
    }
    ledger.subscriptions.iter().filter(|(topic, group)| ledger.lives(*topic, *group)).find_map(|(topic, group)| {
        let queues = (0..).map(QueueId).zip(&ledger.topics[topic].queues);
        let all = queues.flat_map(|(queue, messages)| (0..).zip(messages).map(move |(offset, of)| (queue, offset, of)));
        let keyed = all.map(|(queue, offset, of)| (DeliveryKey { topic: *topic, group: *group, queue, offset }, of));
        let mut there =
            keyed.filter(|(_, of)| of.index >= ledger.start && of.index < start && !ledger.passed(*group, of));
        there.find(|(key, _)| !ledger.deliveries.contains_key(key) && !ledger.unwanted.contains(key))
    })
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;

    #[test]
    fn a_start_that_passes_over_a_delivery_is_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0], None).unwrap();
        rig.publish(&[1], None).unwrap();
        rig.receive(&[(0, 1)]).unwrap();
        let end = rig.end();
        rig.expect("start", |rig| rig.trim(end, end));
        rig.expect("start", |rig| rig.trim(1, 2));
        rig.trim(end, 0).unwrap();
        rig.ack(0).unwrap();
        rig.trim(end, end).unwrap();
        rig.expect("start", |rig| rig.trim(end, 1));
    }

    #[test]
    fn a_release_that_passes_over_an_unread_message_is_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0], None).unwrap();
        rig.publish(&[1], None).unwrap();
        rig.receive(&[(0, 1)]).unwrap();
        rig.ack(0).unwrap();
        rig.expect("start", |rig| rig.release(2, 2));
        rig.release(2, 1).unwrap();
    }
}
