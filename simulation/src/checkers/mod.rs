//! One promise each, checked after every step. The Raft properties are named as in the paper (figure 3).

mod checker;
mod commit_quorum;
mod commit_term;
mod durability;
mod election_safety;
mod exactly_once;
mod gated_stays_out;
mod kept_for_its_age;
mod leader_append_only;
mod leader_completeness;
mod log_matching;
mod older_copy_votes_no_more;
mod one_vote;
mod reads_of_one_log;
mod reads_see_what_they_cover;
#[cfg(test)]
mod rig;
mod state_behind_log;
mod state_digest;
mod state_machine_safety;
mod wiped_stays_out;

pub use checker::{Checker, Violation};
pub use exactly_once::ExactlyOnce;

use raft_log::sim::observe::Event;

use crate::settings::Settings;
use crate::view::View;

/// All checkers of the nodes, and the view that they share.
pub struct Checkers {
    /// What is known of the nodes.
    pub view: View,
    checkers: Vec<Box<dyn Checker>>,
}

impl Checkers {
    /// For one run.
    #[must_use]
    pub fn new(settings: &Settings) -> Checkers {
        let checkers: Vec<Box<dyn Checker>> = vec![
            Box::<election_safety::ElectionSafety>::default(),
            Box::<one_vote::OneVote>::default(),
            Box::new(leader_append_only::LeaderAppendOnly),
            Box::<log_matching::LogMatching>::default(),
            Box::new(leader_completeness::LeaderCompleteness),
            Box::new(commit_quorum::CommitQuorum),
            Box::new(commit_term::CommitTerm),
            Box::<reads_of_one_log::ReadsOfOneLog>::default(),
            Box::new(reads_see_what_they_cover::ReadsSeeWhatTheyCover),
            Box::new(state_machine_safety::StateMachineSafety),
            Box::new(durability::Durability),
            Box::new(state_behind_log::StateBehindLog),
            Box::new(wiped_stays_out::WipedStaysOut),
            Box::new(older_copy_votes_no_more::OlderCopyVotesNoMore),
            Box::new(gated_stays_out::GatedStaysOut),
            Box::<state_digest::StateDigest>::default(),
            Box::new(kept_for_its_age::KeptForItsAge::new(settings)),
        ];
        Checkers { view: View::default(), checkers }
    }

    /// Shows an event to all of them.
    ///
    /// # Errors
    /// The first promise that it breaks.
    pub fn take(&mut self, event: &Event) -> Result<(), Violation> {
        for checker in &mut self.checkers {
            if let Err(what) = checker.check(&self.view, event) {
                let what = format!("node {}: {what}", crate::view::node_of(event.node));
                return Err(Violation { checker: checker.name(), what });
            }
        }
        self.view.take(event);
        Ok(())
    }
}
