//! Leader append-only: a leader never overwrites or deletes entries in its log; it only appends.

use raft_log::sim::observe::{Deed, Event};

use crate::checkers::Checker;
use crate::view::{View, node_of};

pub(super) struct LeaderAppendOnly;

impl Checker for LeaderAppendOnly {
    fn name(&self) -> &'static str {
        "leader append-only"
    }

    fn check(&mut self, view: &View, event: &Event) -> Result<(), String> {
        let Some(node) = view.node(event.node) else { return Ok(()) };
        match &event.deed {
            Deed::Truncated(first_removed) => {
                let leads = node.vote.is_some_and(|vote| vote.committed && vote.voted_for == Some(node_of(event.node)));
                if leads && first_removed.0 < node.end() {
                    return Err(format!(
                        "as the leader of {:?} it removed its entries from {first_removed} on",
                        node.vote
                    ));
                }
                Ok(())
            }
            // Without a truncation nobody writes elsewhere than at the end.
            Deed::Appended(entries) => match entries.first() {
                Some(first) if first.id.index.0 != node.end() => {
                    Err(format!("it appended {} to a log that ends before {}", first.id, node.end()))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{appended, by, entry, tells_apart, voted};
    use raft_log::types::LogIndex;

    /// Node 1 removes its entry under the vote of this leader.
    fn removed_under(leader: u64) -> Vec<Event> {
        vec![voted(1, 1, leader, true), appended(1, &[entry(1, 0)]), by(1, Deed::Truncated(LogIndex(0)))]
    }

    #[test]
    fn only_a_follower_removes_entries() {
        tells_apart(|| LeaderAppendOnly, &removed_under(2), &removed_under(1));
    }

    #[test]
    fn entries_are_appended_at_the_end() {
        let then = |index| vec![appended(1, &[entry(1, 0)]), appended(1, &[entry(1, index)])];
        tells_apart(|| LeaderAppendOnly, &then(1), &then(2));
        tells_apart(|| LeaderAppendOnly, &then(1), &then(0));
    }
}
