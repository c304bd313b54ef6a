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
