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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{appended, entry, tells_apart};

    #[test]
    fn equal_ids_have_equal_contents() {
        let other = Entry { payload_crc: 8, ..entry(1, 0) };
        let then = |second| vec![appended(1, &[entry(1, 0)]), appended(2, &[second])];
        tells_apart(LogMatching::default, &then(entry(1, 0)), &then(other));
    }

    #[test]
    fn equal_ids_have_equal_predecessors() {
        let then = |first| vec![appended(1, &[entry(1, 0), entry(2, 1)]), appended(2, &[first, entry(2, 1)])];
        tells_apart(LogMatching::default, &then(entry(1, 0)), &then(entry(2, 0)));
    }
}
