//! A numbered message is stored once; a repeat is answered by the place of the first time, and what its producer gave up is not
//! stored afterwards (hazards 16).

use crate::simulation::ledger::{Applied, Ledger, Sequences};
use crate::simulation::log::Log;
use crate::simulation::order::Order;
use crate::state::Outcome;

pub(super) fn check(ledger: &Ledger, _: &Log, applied: &Applied<'_>) -> Result<(), String> {
    let (Order::Publish { topic, producer: Some(stamp), .. }, Outcome::Stored(stored)) =
        (applied.order, applied.outcome)
    else {
        return Ok(());
    };
    let none = Sequences::default();
    let known = ledger.sequences.get(&(*topic, stamp.id, stamp.epoch)).unwrap_or(&none);
    for (sequence, at) in (stamp.base_sequence..).zip(stored) {
        match known.stored.get(&sequence) {
            Some(_) if !at.repeated => return Err(format!("sequence {sequence} of {stamp:?} is stored twice")),
            Some(first) if (first.queue, first.offset) != (at.queue, at.offset) => {
                return Err(format!("sequence {sequence} was answered by {first:?}, now it is {at:?}"));
            }
            None if at.repeated => return Err(format!("sequence {sequence} is a repeat of nothing")),
            None if sequence < known.floor => return Err(format!("sequence {sequence} was given up, and is stored")),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, stamp};

    #[test]
    fn a_second_time_and_a_late_first_time_are_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0], stamp(0, 0)).unwrap();
        rig.publish(&[1], stamp(5, 3)).unwrap();
        rig.expect("stored once", |rig| rig.publish(&[2], stamp(0, 0)));
        rig.expect("stored once", |rig| rig.publish(&[2], stamp(2, 2)));
        rig.publish(&[2], stamp(3, 3)).unwrap();
    }
}
