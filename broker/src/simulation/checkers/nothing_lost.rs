//! Whatever a receive passes on its way is given, has expired by now, is not wanted or waits for its message group; and a receive with
//! room to spare leaves nothing out.

use crate::simulation::ledger::{Applied, Ledger};
use crate::simulation::log::Log;
use crate::simulation::order::Order;
use crate::simulation::progress::Walk;
use crate::state::Outcome;

pub(super) fn check(ledger: &Ledger, _: &Log, applied: &Applied<'_>) -> Result<(), String> {
    let (Order::Receive(receive), Outcome::Received(received)) = (applied.order, applied.outcome) else {
        return Ok(());
    };
    Walk::of(ledger, applied.index, receive, received).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, again};

    #[test]
    fn a_message_that_is_not_given_is_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0, 1], None).unwrap();
        rig.expect("nothing lost", |rig| rig.receive_with_room(&[(0, 1)]));
        rig.receive_with_room(&[(0, 1), (1, 1)]).unwrap();
        rig.receive_with_room(&[]).unwrap();
        rig.pass(again());
        rig.expect("nothing lost", |rig| rig.receive_with_room(&[]));
    }

    #[test]
    fn a_message_that_is_passed_over_and_what_comes_before_what_is_due_are_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0, 1, 2, 3], None).unwrap();
        rig.expect("nothing lost", |rig| rig.receive(&[(1, 1)]));
        rig.expect("nothing lost", |rig| rig.receive(&[(0, 1), (2, 1)]));
        rig.receive(&[(0, 1), (1, 1)]).unwrap();
        rig.pass(again());
        rig.expect("nothing lost", |rig| rig.receive(&[(2, 1)]));
        rig.receive(&[(0, 2)]).unwrap();
        rig.receive(&[(1, 2), (2, 1)]).unwrap();
    }

    /// Only what has expired at this moment is passed over, and it does not come back.
    #[test]
    fn what_retention_took_is_passed_over_once_it_has_gone() {
        let mut rig = Rig::new();
        rig.publish(&[0], None).unwrap();
        rig.publish(&[1], None).unwrap();
        rig.expect("nothing lost", |rig| rig.receive(&[(1, 1)]));
        rig.trim(1, 1).unwrap();
        rig.receive(&[(1, 1)]).unwrap();
    }

    /// Of a message group that is under way, later messages wait, and expire only where the next one follows an earlier one.
    #[test]
    fn what_waits_expires_only_as_its_turn_comes() {
        let mut rig = Rig::fifo();
        (0..4).for_each(|offset| rig.publish(&[offset], None).unwrap());
        rig.receive(&[(0, 1)]).unwrap();
        rig.receive_with_room(&[]).unwrap();
        rig.trim(2, 0).unwrap();
        rig.pass(again());
        rig.expect("message order", |rig| rig.receive(&[(0, 2), (2, 1)]));
        rig.receive(&[(0, 2)]).unwrap();
        rig.ack(0).unwrap();
        rig.expect("nothing lost", |rig| rig.receive(&[(1, 1)]));
        rig.expect("nothing lost", |rig| rig.receive_with_room(&[(2, 1)]));
        rig.receive(&[(2, 1)]).unwrap();
    }

    #[test]
    fn a_message_that_would_have_fitted_and_one_too_many_are_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0, 1, 2], None).unwrap();
        rig.expect("nothing lost", |rig| rig.receive_bytes(&[(0, 1)], 100));
        rig.receive_bytes(&[(0, 1), (1, 1)], 100).unwrap();
        rig.pass(again());
        rig.expect("nothing lost", |rig| rig.receive_bytes(&[(0, 2), (2, 1)], 100));
        rig.receive_bytes(&[(0, 2)], 10).unwrap();
    }
}
