//! Log matching: if two logs contain an entry with the same index and term, then the logs are identical in all entries
//! up through the given index.

use std::collections::BTreeMap;

use raft_log::sim::observe::{Deed, Entry, Event};
use raft_log::types::LogId;

use crate::checkers::Checker;
use crate::view::View;

/// By induction: equal ids have equal contents and equal predecessors, everywhere and for ever.
#[derive(Default)]
pub(super) struct LogMatching {
    seen: BTreeMap<LogId, (Entry, Option<LogId>)>,
}

impl LogMatching {
    fn follow(&mut self, mut previous: Option<LogId>, entries: &[Entry]) -> Result<(), String> {
        for entry in entries {
            let (first, before) = *self.seen.entry(entry.id).or_insert((*entry, previous));
            if first != *entry {
                return Err(format!("two entries have the id {}: {first:?} and {entry:?}", entry.id));
            }
            // The predecessor of the first entry behind a purged one may be unknown.
            if before != previous && before.is_some() && previous.is_some() {
                return Err(format!("{} follows {before:?} in one log and {previous:?} in another", entry.id));
            }
            previous = Some(entry.id);
        }
        Ok(())
    }
}

impl Checker for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn check(&mut self, view: &View, event: &Event) -> Result<(), String> {
        match &event.deed {
            Deed::Opened { purged, entries, .. } => self.follow(*purged, entries),
            Deed::Appended(entries) => {
                let previous = view.node(event.node).and_then(|node| {
                    let before = entries.first()?.id.index.0.checked_sub(1)?;
                    node.log.get(&before).map(|entry| entry.id).or(node.purged)
                });
                self.follow(previous, entries)
            }
            _ => Ok(()),
        }
    }
}
