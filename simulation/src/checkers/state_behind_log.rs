//! Persisted state never runs ahead of the node's own durable log (hazards 1).

use raft_log::sim::observe::{Deed, Event};

use crate::checkers::Checker;
use crate::view::View;

pub(super) struct StateBehindLog;

impl Checker for StateBehindLog {
    fn name(&self) -> &'static str {
        "state behind log"
    }

    fn check(&mut self, view: &View, event: &Event) -> Result<(), String> {
        let (Deed::Flushed(applied) | Deed::Restored(applied) | Deed::Checkpointed(applied)) = &event.deed else {
            return Ok(());
        };
        let end = view.node(event.node).map_or(0, |node| node.synced_end);
        if applied.index.0 >= end {
            return Err(format!("its state persisted {applied}, its disk holds the log before {end}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{appended, by, entry, id, tells_apart};
    use raft_log::types::LogIndex;

    fn then(deed: Deed) -> Vec<Event> {
        vec![appended(1, &[entry(1, 0), entry(1, 1)]), by(1, Deed::Synced(LogIndex(1))), by(1, deed)]
    }

    #[test]
    fn the_state_persists_only_what_the_disk_holds() {
        for deed in [Deed::Flushed, Deed::Restored, Deed::Checkpointed] {
            tells_apart(|| StateBehindLog, &then(deed(id(1, 0))), &then(deed(id(1, 1))));
        }
    }
}
