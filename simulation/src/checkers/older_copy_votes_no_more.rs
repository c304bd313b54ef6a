//! A node whose disk was put back as it was earlier never votes again: it has forgotten votes and entries (hazards 34). It may
//! follow.

use raft_log::sim::observe::{Deed, Event};

use crate::checkers::Checker;
use crate::view::View;

pub(super) struct OlderCopyVotesNoMore;

impl Checker for OlderCopyVotesNoMore {
    fn name(&self) -> &'static str {
        "older copy votes no more"
    }

    fn check(&mut self, view: &View, event: &Event) -> Result<(), String> {
        match &event.deed {
            // A committed vote says whom it follows.
            Deed::Voted(vote) if !vote.committed && view.put_back.contains_key(&event.node) => {
                Err(format!("its disk was put back as it was earlier, and it voted: {vote:?}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{appended, entry, objection, objection_in, persisted, voted};
    use crate::cluster::host;

    #[test]
    fn who_was_put_back_follows_and_does_not_vote() {
        let before = [voted(1, 1, 1, false), appended(1, &[entry(1, 0)]), persisted(1, 1, 0)];
        assert_eq!(objection(&mut OlderCopyVotesNoMore, &before), None);
        let mut view = View::default();
        before.iter().for_each(|event| view.take(event));
        view.put_back(host(0));
        let after = [voted(2, 2, 2, false), voted(1, 2, 2, true), persisted(1, 1, 0), voted(1, 3, 2, false)];
        assert_eq!(objection_in(&mut OlderCopyVotesNoMore, &mut view, &after), Some(3));
    }
}
