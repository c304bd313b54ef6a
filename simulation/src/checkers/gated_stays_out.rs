//! A node that may have forgotten something grants no vote, and one that is damaged or stalled does not lead, in any term
//! that begins after it knew.

use raft_log::GateReason;
use raft_log::sim::observe::{Deed, Event};

use crate::checkers::Checker;
use crate::view::{View, grants, node_of};

pub(super) struct GatedStaysOut;

impl Checker for GatedStaysOut {
    fn name(&self) -> &'static str {
        "gated stays out"
    }

    fn check(&mut self, view: &View, event: &Event) -> Result<(), String> {
        let (Deed::Voted(vote) | Deed::Granted(vote)) = &event.deed else { return Ok(()) };
        let Some(node) = view.node(event.node) else { return Ok(()) };
        // An election that was under way when the gate closed may end as it will.
        let closed = |reason: &GateReason| node.gates.get(reason).is_some_and(|highest| Some(vote.term) > *highest);
        let own = vote.voted_for == Some(node_of(event.node));
        let leads = vote.committed && own;
        if grants(event) && closed(&GateReason::AsyncUnclean) {
            return Err(format!("it may have forgotten what it acknowledged, and granted {vote:?}"));
        }
        if leads && (closed(&GateReason::Damaged) || closed(&GateReason::AsyncUnclean)) {
            return Err(format!("it keeps out of elections, and leads: {vote:?}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use raft_log::types::LogIndex;

    use super::*;
    use crate::checkers::rig::{by, granted, tells_apart, voted};

    fn gated(reason: GateReason) -> Event {
        by(1, Deed::Gated(reason, true))
    }

    #[test]
    fn who_may_have_forgotten_something_grants_nothing() {
        let forgot = || vec![voted(2, 4, 2, false), gated(GateReason::AsyncUnclean)];
        let grants = |term| [forgot(), vec![granted(1, term, 2)]].concat();
        tells_apart(|| GatedStaysOut, &grants(4), &grants(5));
        let open = [forgot(), vec![by(1, Deed::Gated(GateReason::AsyncUnclean, false)), granted(1, 5, 2)]].concat();
        tells_apart(|| GatedStaysOut, &open, &grants(5));
    }

    #[test]
    fn who_lacks_its_tail_grants_nothing() {
        let opened = |in_doubt| {
            let entries = vec![];
            vec![by(1, Deed::Opened { purged: None, entries, end: LogIndex(0), in_doubt, vote: None })]
        };
        let grants = |in_doubt| [opened(in_doubt), vec![granted(1, 5, 2)]].concat();
        tells_apart(|| GatedStaysOut, &grants(false), &grants(true));
    }

    #[test]
    fn who_is_damaged_follows_and_does_not_lead() {
        let then = |leader| vec![gated(GateReason::Damaged), voted(1, 5, leader, true)];
        tells_apart(|| GatedStaysOut, &then(2), &then(1));
    }
}
