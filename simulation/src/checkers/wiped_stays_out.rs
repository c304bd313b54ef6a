//! A node whose disk was replaced never takes part again under its old id: it has forgotten its votes (hazards 2).

use raft_log::sim::observe::{Deed, Event};

use crate::checkers::Checker;
use crate::view::View;

pub(super) struct WipedStaysOut;

impl Checker for WipedStaysOut {
    fn name(&self) -> &'static str {
        "wiped stays out"
    }

    fn check(&mut self, view: &View, event: &Event) -> Result<(), String> {
        let wiped = view.wiped.contains_key(&event.node);
        match &event.deed {
            Deed::Voted(vote) if wiped => Err(format!("its disk was replaced, and it voted: {vote:?}")),
            Deed::Persisted(id) if wiped => Err(format!("its disk was replaced, and it acknowledged {id}")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{appended, entry, objection, objection_in, persisted, voted};
    use crate::hosts::host;

    #[test]
    fn who_was_wiped_neither_votes_nor_acknowledges() {
        let before = [appended(1, &[entry(1, 0)]), persisted(1, 1, 0), voted(1, 1, 1, true)];
        assert_eq!(objection(&mut WipedStaysOut, &before), None);
        for deed in [persisted(1, 1, 0), voted(1, 1, 1, false)] {
            let mut view = View::default();
            before.iter().for_each(|event| view.take(event));
            view.wipe(host(0));
            assert_eq!(objection_in(&mut WipedStaysOut, &mut view, &[voted(2, 1, 1, true), deed]), Some(1));
        }
    }
}
