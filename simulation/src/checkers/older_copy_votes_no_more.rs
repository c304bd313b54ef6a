//! A node whose disk was put back as it was earlier never votes again: it has forgotten votes and entries (hazards 34). It may
//! follow.

use raft_log::sim::observe::Event;

use crate::checkers::Checker;
use crate::view::{View, grants};

pub(super) struct OlderCopyVotesNoMore;

impl Checker for OlderCopyVotesNoMore {
    fn name(&self) -> &'static str {
        "older copy votes no more"
    }

    fn check(&mut self, view: &View, event: &Event) -> Result<(), String> {
        if grants(event) && view.is_known_older_copy(event.node) {
            return Err(format!("its disk was put back as it was earlier, and it voted: {:?}", event.deed));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{appended, entry, granted, objection, objection_in, persisted, voted};
    use crate::hosts::host;

    #[test]
    fn who_was_put_back_follows_and_does_not_vote() {
        let before = [voted(1, 1, 1, false), appended(1, &[entry(1, 0)]), persisted(1, 1, 0)];
        assert_eq!(objection(&mut OlderCopyVotesNoMore, &before), None);
        let mut view = View::default();
        before.iter().for_each(|event| view.take(event));
        view.put_back(host(0), host(1));
        let after = [voted(2, 2, 2, false), voted(1, 2, 2, true), persisted(1, 1, 0), granted(1, 3, 2)];
        assert_eq!(objection_in(&mut OlderCopyVotesNoMore, &mut view, &after), Some(3));
    }
}
