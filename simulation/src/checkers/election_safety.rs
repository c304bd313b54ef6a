//! Election safety: at most one leader can be elected in a given term.

use std::collections::BTreeMap;

use raft_log::sim::observe::{Deed, Event};
use raft_log::types::{NodeId, Term};

use crate::checkers::Checker;
use crate::view::View;

/// A vote that is marked as committed names the leader of its term.
#[derive(Default)]
pub(super) struct ElectionSafety {
    leaders: BTreeMap<Term, NodeId>,
}

impl Checker for ElectionSafety {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn check(&mut self, _view: &View, event: &Event) -> Result<(), String> {
        let Deed::Voted(vote) = &event.deed else { return Ok(()) };
        let (true, Some(leader)) = (vote.committed, vote.voted_for) else { return Ok(()) };
        let first = *self.leaders.entry(vote.term).or_insert(leader);
        if first == leader { Ok(()) } else { Err(format!("term {} has the leaders {first} and {leader}", vote.term)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{tells_apart, voted};

    #[test]
    fn a_term_has_one_leader() {
        let kept = [voted(1, 1, 1, true), voted(2, 1, 1, true), voted(2, 1, 2, false), voted(2, 2, 2, true)];
        tells_apart(ElectionSafety::default, &kept, &[voted(1, 1, 1, true), voted(2, 1, 2, true)]);
    }
}
