//! What a handle is worth: the delivery it speaks of is settled once, and nothing else by it.

use std::collections::BTreeSet;

use crate::simulation::deliveries::Stand;
use crate::simulation::ledger::{Applied, Ledger, key_of};
use crate::simulation::log::Log;
use crate::simulation::order::Order;
use crate::state::{AckEntry, DeliveryKey, Outcome, Settled};

pub(super) fn check(ledger: &Ledger, _: &Log, applied: &Applied<'_>) -> Result<(), String> {
    let settled: Vec<(DeliveryKey, AckEntry, Settled)> = match (applied.order, applied.outcome) {
        (Order::Ack(ack), Outcome::Acked(settled)) if settled.len() == ack.entries.len() => {
            let both = ack.entries.iter().zip(settled);
            both.map(|(entry, settled)| (key_of(ack.topic, ack.group, entry), *entry, *settled)).collect()
        }
        (Order::Change(change), Outcome::Changed(changed)) => {
            let key = key_of(change.topic, change.group, &change.entry);
            if changed.is_ok_and(|deadline| deadline.0 != ledger.clock + change.invisible_ms) {
                return Err(format!("{key:?} is hidden until {changed:?}"));
            }
            vec![(key, change.entry, changed.err().unwrap_or(Settled::Done))]
        }
        (Order::GiveUp(dead), Outcome::DeadLettered(settled)) => {
            vec![(key_of(dead.topic, dead.group, &dead.entry), dead.entry, *settled)]
        }
        (Order::Renew(renew), Outcome::Renewed(renewed)) => {
            let moves = ledger.renewal(renew);
            let lease = moves.map(|(client, begun, _)| (client, begun));
            let held =
                ledger.pending().any(|(_, of)| of.stand == Stand::Hidden && lease.is_some() && of.lease == lease);
            let wrong = held && *renewed == 0 || moves.is_none() && *renewed > 0;
            return if wrong { Err(format!("{renewed} leases were renewed by {renew:?}")) } else { Ok(()) };
        }
        _ => return Ok(()),
    };
    let mut done = BTreeSet::new();
    for (key, entry, settled) in settled {
        // One command may name a delivery twice.
        let expected = if done.contains(&key) { after(ledger, &entry) } else { worth(ledger, key, &entry) };
        if settled == Settled::Done {
            done.insert(key);
        }
        if settled != expected {
            return Err(format!("{key:?} by {entry:?} is {settled:?}, expected {expected:?}"));
        }
    }
    Ok(())
}

/// What a handle of something that is done with is worth.
fn after(ledger: &Ledger, entry: &AckEntry) -> Settled {
    if entry.deadline.0 > ledger.clock { Settled::Already } else { Settled::Expired }
}

fn worth(ledger: &Ledger, key: DeliveryKey, entry: &AckEntry) -> Settled {
    match ledger.deliveries.get(&key) {
        None => Settled::Unknown,
        Some(of) if of.is_done() => after(ledger, entry),
        Some(of) if of.stand == Stand::Hidden && of.nonce == entry.nonce => Settled::Done,
        Some(_) => Settled::Expired,
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, again};
    use crate::state::Settled;

    #[test]
    fn a_handle_that_settles_anothers_delivery_is_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0], None).unwrap();
        rig.receive(&[(0, 1)]).unwrap();
        let old = rig.handle(0);
        rig.pass(again());
        rig.receive(&[(0, 2)]).unwrap();
        rig.expect("settled", |rig| rig.ack_by(old, Settled::Done));
        rig.ack_by(old, Settled::Expired).unwrap();
        rig.expect("settled", |rig| rig.ack_by(rig.handle(0), Settled::Expired));
        rig.ack(0).unwrap();
        rig.expect("settled", |rig| rig.ack_by(rig.handle(0), Settled::Done));
    }
}
