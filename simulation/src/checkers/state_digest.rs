//! State machines that have applied the same entries are the same, however they came there: by the entries, by a restart,
//! or by a checkpoint.

use std::collections::BTreeMap;

use raft_log::sim::observe::{Deed, Event};
use raft_log::types::LogIndex;

use crate::checkers::Checker;
use crate::view::View;

#[derive(Default)]
pub(super) struct StateDigest {
    by_index: BTreeMap<LogIndex, u64>,
}

impl Checker for StateDigest {
    fn name(&self) -> &'static str {
        "state digest"
    }

    fn check(&mut self, _view: &View, event: &Event) -> Result<(), String> {
        let Deed::Digest(applied, digest) = &event.deed else { return Ok(()) };
        let first = *self.by_index.entry(applied.index).or_insert(*digest);
        if first == *digest {
            return Ok(());
        }
        Err(format!("its state after {applied} has the digest {digest:016x}, another's had {first:016x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{by, id, tells_apart};

    #[test]
    fn all_states_are_the_same_after_the_same_entry() {
        let then = |index, digest| vec![by(1, Deed::Digest(id(1, 5), 7)), by(2, Deed::Digest(id(1, index), digest))];
        tells_apart(StateDigest::default, &then(5, 7), &then(5, 8));
        tells_apart(StateDigest::default, &then(6, 8), &then(5, 8));
    }
}
