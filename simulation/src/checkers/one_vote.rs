//! A node votes once a term, through all its lives; election safety rests on it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use raft_log::sim::observe::{Deed, Event};
use raft_log::types::{NodeId, Term};

use crate::checkers::Checker;
use crate::view::View;

/// Remembers for whom each node voted. A vote marked as committed says who won, not whom the node chose.
#[derive(Default)]
pub(super) struct OneVote {
    votes: BTreeMap<(IpAddr, Term), NodeId>,
}

impl Checker for OneVote {
    fn name(&self) -> &'static str {
        "one vote"
    }

    fn check(&mut self, _view: &View, event: &Event) -> Result<(), String> {
        let Deed::Voted(vote) = &event.deed else { return Ok(()) };
        let (false, Some(candidate)) = (vote.committed, vote.voted_for) else { return Ok(()) };
        let first = *self.votes.entry((event.node, vote.term)).or_insert(candidate);
        if first == candidate {
            return Ok(());
        }
        Err(format!("it voted for {first} and for {candidate} in term {}", vote.term))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{tells_apart, voted};

    #[test]
    fn a_node_votes_once_a_term() {
        let kept = [voted(1, 1, 2, false), voted(1, 1, 2, false), voted(1, 1, 3, true), voted(1, 2, 3, false)];
        tells_apart(OneVote::default, &kept, &[voted(1, 1, 2, false), voted(1, 1, 3, false)]);
    }
}
