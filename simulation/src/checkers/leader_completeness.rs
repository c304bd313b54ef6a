//! Leader completeness: if an entry is committed in a given term, then it is present in the logs of the leaders of all
//! higher terms.

use raft_log::sim::observe::{Deed, Event};

use crate::checkers::Checker;
use crate::view::{View, node_of};

pub(super) struct LeaderCompleteness;

impl Checker for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn check(&mut self, view: &View, event: &Event) -> Result<(), String> {
        let Deed::Voted(vote) = &event.deed else { return Ok(()) };
        if !vote.committed || vote.voted_for != Some(node_of(event.node)) {
            return Ok(());
        }
        let Some(node) = view.node(event.node) else { return Ok(()) };
        // A leader may learn of its election late, when a later one has committed entries already.
        for (entry, _) in view.committed.values().filter(|(_, committed_in)| *committed_in < vote.term) {
            if !node.holds(entry) {
                return Err(format!("the leader of term {} lacks the committed entry {}", vote.term, entry.id));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{appended, applied, entry, opened, tells_apart, voted};

    /// Entry 0 is committed in term 1; then node 2 leads this term, with or without it.
    fn led(term: u64, with: bool) -> Vec<Event> {
        let mut events =
            vec![voted(1, 1, 1, true), appended(1, &[entry(1, 0)]), applied(1, entry(1, 0)), opened(2, &[], None)];
        events.extend(with.then(|| appended(2, &[entry(1, 0)])));
        events.push(voted(2, term, 2, true));
        events
    }

    #[test]
    fn a_later_leader_holds_what_is_committed() {
        tells_apart(|| LeaderCompleteness, &led(2, true), &led(2, false));
        tells_apart(|| LeaderCompleteness, &led(1, false), &led(2, false));
    }
}
