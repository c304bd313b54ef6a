//! State machine safety: if a node has applied an entry at a given index to its state machine, no other node will ever
//! apply a different entry for the same index. And each applies in order, without gaps.

use raft_log::sim::observe::{Deed, Event};

use crate::checkers::Checker;
use crate::view::View;

pub(super) struct StateMachineSafety;

impl Checker for StateMachineSafety {
    fn name(&self) -> &'static str {
        "state machine safety"
    }

    fn check(&mut self, view: &View, event: &Event) -> Result<(), String> {
        let Deed::Applied(entry, _) = &event.deed else { return Ok(()) };
        if let Some((first, _)) = view.committed.get(&entry.id.index.0)
            && first != entry
        {
            return Err(format!("applied {entry:?} where {first:?} was applied before"));
        }
        let before = view.node(event.node).and_then(|node| node.applied);
        match before {
            Some(before) if before.index.next() != entry.id.index => {
                Err(format!("applied {} after {before}", entry.id))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{applied, by, entry, id, tells_apart};

    #[test]
    fn all_apply_the_same() {
        let then = |term| vec![applied(1, entry(1, 0)), applied(2, entry(term, 0))];
        tells_apart(|| StateMachineSafety, &then(1), &then(2));
    }

    #[test]
    fn each_applies_in_order_and_without_gaps() {
        let then = |index| vec![applied(1, entry(1, 0)), applied(1, entry(1, index))];
        tells_apart(|| StateMachineSafety, &then(1), &then(2));
        let after = |index| vec![by(1, Deed::Restored(id(1, 5))), applied(1, entry(1, index))];
        tells_apart(|| StateMachineSafety, &after(6), &after(7));
    }
}
