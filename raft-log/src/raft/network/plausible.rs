//! Terms that no honest peer states.
//!
//! A term is saved before it is answered, and never goes down again. One stated far above the own one, by a mistake or on
//! purpose, would poison every node that hears of it; so it is refused, and nothing is saved. A node that is new has seen no
//! term, and takes the first.

use std::io;

use crate::raft::type_config::RaftVote;

/// A group does not elect this often while a member is away: at an election a second it takes twelve days.
const TERM_STEP_MAX: u64 = 1 << 20;

/// Refuses a vote whose term is too far above the own one.
pub(crate) fn check_term(own: RaftVote, stated: &RaftVote) -> io::Result<()> {
    let (own, stated) = (own.leader_id.term, stated.leader_id.term);
    if own == 0 || stated <= own.saturating_add(TERM_STEP_MAX) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("term {stated} is impossibly far above this node's {own}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NodeId;
    use openraft::impls::leader_id_std::LeaderId;

    fn vote(term: u64) -> RaftVote {
        openraft::Vote { leader_id: LeaderId { term, voted_for: NodeId(1) }, committed: false }
    }

    #[test]
    fn a_term_may_be_ahead_but_not_impossibly_far() {
        assert!(check_term(vote(5), &vote(3)).is_ok());
        assert!(check_term(vote(5), &vote(5 + TERM_STEP_MAX)).is_ok());
        assert!(check_term(vote(5), &vote(6 + TERM_STEP_MAX)).is_err());
        assert!(check_term(vote(0), &vote(6 + TERM_STEP_MAX)).is_ok(), "a new node joins an old group");
    }
}
