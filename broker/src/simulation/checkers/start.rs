//! The readable start never falls, never comes further than retention asked, and passes over nothing that a group has taken and
//! not finished, nor stays where nothing is needed; a relocation moves whoever still needs a body, and nobody else (hazards 23).

use raft_log::types::LogIndex;

use crate::simulation::deliveries::Delivery;
use crate::simulation::ledger::{Applied, Ledger};
use crate::simulation::log::Log;
use crate::simulation::order::Order;
use crate::state::{Holder, Outcome, ReleaseTo};

pub(super) fn check(ledger: &Ledger, log: &Log, applied: &Applied<'_>) -> Result<(), String> {
    match (applied.order, applied.outcome) {
        (Order::Trim(to) | Order::Release(ReleaseTo { to, .. }), Outcome::Trimmed { start }) => {
            if *start < ledger.start || *start > ledger.start.max(*to).min(applied.index.max(ledger.start)) {
                return Err(format!("asked for {to}, the start goes from {} to {start}", ledger.start));
            }
            if let (Order::Release(_), Some((key, index))) = (applied.order, ledger.oldest_unread())
                && index < *start
                && *start > ledger.start
            {
                return Err(format!("a release to {start} passes over {key:?}, unread at {index}"));
            }
            if let Some((key, of)) = ledger.pending().find(|(_, of)| of.at < *start) {
                return Err(format!("the start goes to {start}, over {key:?} at {}", of.at));
            }
            if let Some((name, _)) = ledger.letters.iter().find(|(_, of)| of.iter().any(|letter| letter.at < *start)) {
                return Err(format!("the start goes to {start}, over a letter of {name}"));
            }
            let least = least_start(ledger, log, (*to).min(applied.index));
            if matches!(applied.order, Order::Trim(_)) && *start < least {
                return Err(format!("asked for {to}, the start stays at {start}; nothing is needed before {least}"));
            }
            Ok(())
        }
        (Order::Relocate(bodies), Outcome::Relocated(moved)) => {
            let holders = bodies.iter().flat_map(|body| body.holders.iter().map(|holder| (holder, body.from.index)));
            let ends = |holder: &Holder| match holder {
                Holder::Delivery(key) => ledger.deliveries.get(key).is_some_and(Delivery::ends_when_moved),
                Holder::DeadLetter { .. } => false,
            };
            let (mut least, mut most) = (0, 0);
            for (holder, from) in holders {
                let holds = ledger.holds(holder, from);
                least += u32::from(holds == Some(true) && !ends(holder));
                most += u32::from(holds.is_none() || holds == Some(true) && !ends(holder));
            }
            if (least..=most).contains(moved) {
                Ok(())
            } else {
                Err(format!("{moved} bodies moved, expected {least} to {most}"))
            }
        }
        _ => Ok(()),
    }
}

/// What the start comes to at least: what is needed is counted from entry to entry, of which empty ones count with the next.
fn least_start(ledger: &Ledger, log: &Log, to: LogIndex) -> LogIndex {
    let deleted = ledger.topics.values().any(|of| of.gone) || ledger.groups.values().any(|of| of.gone);
    if deleted {
        // What is not erased yet holds the start too.
        return ledger.start;
    }
    let letters = ledger.letters.values().flatten().map(|letter| letter.at);
    let needed = ledger.pending().map(|(_, of)| of.at).chain(letters).min();
    let mut least = to.min(needed.unwrap_or(to));
    while least.0 > 0 && log.entry(least.0 - 1).payload().is_empty() {
        least.0 -= 1;
    }
    least
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
        rig.expect("start", |rig| rig.release(1, 1));
        rig.receive(&[(0, 1)]).unwrap();
        rig.ack(0).unwrap();
        rig.expect("start", |rig| rig.release(2, 2));
        rig.release(2, 1).unwrap();
    }

    #[test]
    fn a_start_that_stays_though_nothing_is_needed_is_noticed() {
        let mut rig = Rig::new();
        (0..3).for_each(|offset| rig.publish(&[offset], None).unwrap());
        rig.receive(&[(0, 1), (1, 1)]).unwrap();
        rig.ack(0).unwrap();
        rig.expect("start", |rig| rig.trim(2, 0));
        rig.trim(2, 1).unwrap();
    }

    /// Dead letters are moved as deliveries are, each by its own place.
    #[test]
    fn a_letter_that_moves_though_it_lies_elsewhere_and_one_that_does_not_are_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0], None).unwrap();
        rig.publish(&[1], None).unwrap();
        rig.receive(&[(0, 1), (1, 1)]).unwrap();
        rig.give_up(1).unwrap();
        let (letter, taken) = (Rig::letter(0), Rig::delivery(0));
        rig.expect("start", |rig| rig.relocate(&[(0, taken), (1, letter)], 1));
        rig.expect("start", |rig| rig.relocate(&[(0, taken), (0, letter)], 2));
        rig.relocate(&[(0, taken), (1, letter)], 2).unwrap();
        rig.expect("start", |rig| rig.relocate(&[(1, letter)], 1));
        rig.relocate(&[(1, letter)], 0).unwrap();
    }

    /// A start that passes over a dead letter takes its body.
    #[test]
    fn a_start_that_passes_over_a_letter_is_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0], None).unwrap();
        rig.receive(&[(0, 1)]).unwrap();
        rig.give_up(0).unwrap();
        let end = rig.end();
        rig.expect("start", |rig| rig.trim(end, end));
        rig.trim(end, 0).unwrap();
    }

    /// A release asks for no more than what is read: what waits for its message group is not gone by it.
    #[test]
    fn a_message_that_a_release_takes_though_it_waits_is_noticed() {
        let mut rig = Rig::fifo();
        (0..3).for_each(|offset| rig.publish(&[offset], None).unwrap());
        rig.receive(&[(0, 1)]).unwrap();
        rig.receive_with_room(&[]).unwrap();
        rig.release(3, 0).unwrap();
        rig.ack(0).unwrap();
        rig.expect("message order", |rig| rig.receive(&[(2, 1)]));
        rig.receive(&[(1, 1)]).unwrap();
    }
}
