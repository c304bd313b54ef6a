//! An entry is committed only once a majority has called it persisted: of every set of voters of some membership that may
//! govern it. Whatever Raft decides rests on it.

use std::collections::BTreeSet;

use raft_log::sim::observe::{Deed, Event};
use raft_log::types::NodeId;

use crate::checkers::Checker;
use crate::majority;
use crate::view::{NodeView, View};

pub(super) struct CommitQuorum;

impl Checker for CommitQuorum {
    fn name(&self) -> &'static str {
        "commit quorum"
    }

    fn check(&mut self, view: &View, event: &Event) -> Result<(), String> {
        let Deed::Applied(entry, _) = &event.deed else { return Ok(()) };
        let index = entry.id.index.0;
        if view.committed.contains_key(&index) {
            return Ok(());
        }
        let holds = |node: &NodeView| node.persisted_end > index && node.holds(entry);
        let holders: BTreeSet<NodeId> =
            view.acknowledgers().filter(|(_, node)| holds(node)).map(|(id, _)| id).collect();
        let memberships = view.may_govern(entry);
        if memberships.iter().any(|membership| majority::of_each(&membership.configs, |voter| holders.contains(&voter)))
        {
            return Ok(());
        }
        let voters: Vec<_> = memberships.iter().map(|membership| &membership.configs).collect();
        Err(format!("applied {}, which {holders:?} have persisted; voters are {voters:?}", entry.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{appended, applied, configured, entry, group, persisted, states, tells_apart};

    /// In a group of three voters and a learner, these nodes hold entry 2 when it is applied.
    fn held_by(nodes: &[usize]) -> Vec<Event> {
        let mut events = group(&[1, 2, 3], &[4]);
        for node in 1..=4 {
            events.push(appended(node, &[entry(1, 2)]));
        }
        events.extend(nodes.iter().map(|node| persisted(*node, 1, 2)));
        events.push(applied(1, entry(1, 2)));
        events
    }

    #[test]
    fn a_majority_of_the_voters_must_have_persisted_it() {
        tells_apart(|| CommitQuorum, &held_by(&[2, 3]), &held_by(&[2]));
    }

    #[test]
    fn a_learner_does_not_count() {
        tells_apart(|| CommitQuorum, &held_by(&[1, 2, 4]), &held_by(&[1, 4]));
    }

    /// Voters 1, 2, 3 are being replaced by 1, 4, 5; these nodes hold the joint membership when it is applied.
    fn joint_held_by(nodes: &[usize]) -> Vec<Event> {
        let mut events = group(&[1, 2, 3], &[4, 5]);
        events.push(configured(1, 2, &[&[1, 2, 3], &[1, 4, 5]], &[]));
        for node in nodes {
            events.extend([appended(*node, &[states(1, 2)]), persisted(*node, 1, 2)]);
        }
        events.push(applied(1, states(1, 2)));
        events
    }

    #[test]
    fn a_majority_of_both_sets_of_voters_is_needed_while_they_change() {
        tells_apart(|| CommitQuorum, &joint_held_by(&[1, 2, 5]), &joint_held_by(&[1, 2, 3]));
    }

    #[test]
    fn a_leader_goes_by_a_membership_as_soon_as_it_has_appended_it() {
        // Entry 2 is persisted by 1 and 4 only, which is enough for the voters 1 and 4 of entry 3.
        let mut events = group(&[1, 2, 3], &[4]);
        events.push(configured(1, 3, &[&[1, 4]], &[2, 3]));
        for node in [1, 4] {
            events.extend([appended(node, &[entry(1, 2), states(1, 3)]), persisted(node, 1, 3)]);
        }
        events.push(applied(1, entry(1, 2)));
        tells_apart(|| CommitQuorum, &events, &held_by(&[1, 4]));
    }
}
