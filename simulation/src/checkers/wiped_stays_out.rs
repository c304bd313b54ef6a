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
