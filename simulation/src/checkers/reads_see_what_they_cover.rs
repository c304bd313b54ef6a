//! Who is given a read point finds everything that it covers in the state of the node that gave it.

use raft_log::sim::observe::{Deed, Event};

use crate::checkers::Checker;
use crate::view::View;

pub(super) struct ReadsSeeWhatTheyCover;

impl Checker for ReadsSeeWhatTheyCover {
    fn name(&self) -> &'static str {
        "reads see what they cover"
    }

    fn check(&mut self, view: &View, event: &Event) -> Result<(), String> {
        let Deed::ReadPoint(index) = &event.deed else { return Ok(()) };
        // A state that is being replaced is not read.
        match view.node(event.node).and_then(|node| node.applied) {
            Some(applied) if applied.index < *index => {
                Err(format!("it gave a read point of {index} and has applied {applied}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use raft_log::types::LogIndex;

    use super::*;
    use crate::checkers::rig::{applied, by, entry, tells_apart};

    #[test]
    fn a_read_point_is_given_when_it_is_applied() {
        let history =
            |upto| vec![applied(1, entry(1, 0)), applied(1, entry(1, 1)), by(1, Deed::ReadPoint(LogIndex(upto)))];
        tells_apart(|| ReadsSeeWhatTheyCover, &history(1), &history(2));
    }
}
