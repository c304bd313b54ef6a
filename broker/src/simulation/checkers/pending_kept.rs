//! What a group has taken and not finished is pending in the state, and nothing that the state needs lies below its start.

use raft_log::StateMachine;

use super::Violation;
use crate::simulation::ledger::Ledger;
use crate::simulation::node::Node;
use crate::state::DeliveryKey;

/// Looks at a replica that has applied what the ledger holds.
pub(in crate::simulation) fn check(ledger: &Ledger, node: &Node) -> Result<(), Violation> {
    let reader = node.reader();
    let kept = |key: DeliveryKey| reader.is_pending(key.group, key.topic, key.queue, key.offset);
    find_lost(ledger, kept).map_err(|what| Violation::new("pending kept", what))?;
    let start = node.state().needed_from();
    match reader.oldest_needed().filter(|(at, _)| at.index < start) {
        Some((at, key)) => Err(Violation::new("pending kept", format!("{key:?} needs {at:?}, the start is {start}"))),
        None => Ok(()),
    }
}

fn find_lost(ledger: &Ledger, kept: impl Fn(DeliveryKey) -> bool) -> Result<(), String> {
    match ledger.pending().find(|(key, _)| !kept(*key)) {
        Some((key, of)) => Err(format!("{key:?} is lost: {of:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::*;

    #[test]
    fn a_delivery_that_the_state_does_not_know_is_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0, 1], None).unwrap();
        rig.receive(&[(0, 1), (1, 1)]).unwrap();
        rig.ack(0).unwrap();
        assert_eq!(find_lost(&rig.ledger, |key| key.offset == 1), Ok(()));
        assert!(find_lost(&rig.ledger, |key| key.offset == 0).is_err());
    }
}
