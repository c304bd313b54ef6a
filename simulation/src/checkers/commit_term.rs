//! An entry counts as committed only through an entry of some term, at or above its index, that a majority appended while
//! it followed the leader of that term (Raft paper, 5.4.2): an entry of an older term on a majority may still be
//! overwritten.

use std::collections::{BTreeMap, BTreeSet};

use raft_log::sim::observe::{Deed, Event};
use raft_log::types::{NodeId, Term};

use crate::checkers::Checker;
use crate::majority;
use crate::view::{NodeView, View};

pub(super) struct CommitTerm;

/// The terms whose leader's own entries this node has persisted at or above the index while it followed that leader.
fn terms_from(node: &NodeView, index: u64) -> impl Iterator<Item = Term> {
    let persisted = node.log.range(index..node.persisted_end.max(index));
    let own = persisted.filter(|(at, entry)| node.appended_in.get(at) == Some(&entry.id.term));
    own.map(|(_, entry)| entry.id.term)
}

impl Checker for CommitTerm {
    fn name(&self) -> &'static str {
        "commit term"
    }

    fn check(&mut self, view: &View, event: &Event) -> Result<(), String> {
        let Deed::Applied(entry, _) = &event.deed else { return Ok(()) };
        let index = entry.id.index.0;
        if view.committed.contains_key(&index) {
            return Ok(());
        }
        let mut by_term: BTreeMap<Term, BTreeSet<NodeId>> = BTreeMap::new();
        for (id, node) in view.acknowledgers() {
            for term in terms_from(node, index) {
                by_term.entry(term).or_default().insert(id);
            }
        }
        let memberships = view.may_govern(entry);
        let committed = by_term.values().any(|nodes| {
            memberships.iter().any(|membership| majority::of_each(&membership.configs, |voter| nodes.contains(&voter)))
        });
        if committed {
            return Ok(());
        }
        let appended: Vec<String> =
            by_term.iter().map(|(term, nodes)| format!("of term {term} by {nodes:?}")).collect();
        Err(format!("applied {}; from there on, leaders' own entries are persisted {}", entry.id, appended.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{appended, applied, entry, group, persisted, tells_apart, voted};

    /// Raft's figure 8: entry 2 of term 1 is on node 1 only, until node 1 leads term 3 and passes it on to node 2. Node 2
    /// persists it, and entry 3 of term 3 with it or not; then it is applied.
    fn figure_8(with_own_entry: bool) -> Vec<Event> {
        let mut events = group(&[1, 2, 3], &[]);
        events.extend([appended(1, &[entry(1, 2)]), persisted(1, 1, 2), voted(1, 3, 1, true), voted(2, 3, 1, true)]);
        events.extend([
            appended(1, &[entry(3, 3)]),
            persisted(1, 3, 3),
            appended(2, &[entry(1, 2)]),
            persisted(2, 1, 2),
        ]);
        if with_own_entry {
            events.extend([appended(2, &[entry(3, 3)]), persisted(2, 3, 3)]);
        }
        events.push(applied(1, entry(1, 2)));
        events
    }

    #[test]
    fn an_entry_of_an_older_term_on_a_majority_is_not_committed_by_that() {
        tells_apart(|| CommitTerm, &figure_8(true), &figure_8(false));
    }

    #[test]
    fn what_was_committed_in_its_term_may_be_applied_much_later() {
        let mut events = group(&[1, 2, 3], &[]);
        for node in [1, 2] {
            events.extend([appended(node, &[entry(1, 2)]), persisted(node, 1, 2)]);
        }
        events.extend([voted(2, 2, 2, true), voted(3, 2, 2, true)]);
        events.extend([appended(2, &[entry(2, 3)]), appended(3, &[entry(1, 2)]), persisted(3, 1, 2)]);
        events.push(applied(3, entry(1, 2)));
        tells_apart(|| CommitTerm, &events, &figure_8(false));
    }
}
