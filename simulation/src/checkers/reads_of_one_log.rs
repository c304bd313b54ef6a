//! Entries that a read gives at once were in the log at the same time: none of them was removed before another one came.

use std::collections::BTreeMap;
use std::net::IpAddr;

use raft_log::sim::observe::{Deed, Entry, Event};
use raft_log::types::LogId;

use crate::checkers::Checker;
use crate::view::View;

/// When an entry was there, in events of its node.
#[derive(Clone, Copy, Debug)]
struct Stay {
    from: u64,
    until: u64,
}

#[derive(Default)]
struct Node {
    events: u64,
    /// What it held when it opened was read up to here, and ends there.
    unread: std::ops::Range<u64>,
    /// By index: an entry may come back under the same id.
    stays: BTreeMap<u64, Vec<(LogId, Stay)>>,
}

impl Node {
    fn come(&mut self, entries: &[Entry]) {
        let stay = Stay { from: self.events, until: u64::MAX };
        for entry in entries {
            self.stays.entry(entry.id.index.0).or_default().push((entry.id, stay));
        }
    }

    fn go(&mut self, first: u64) {
        let stays = self.stays.range_mut(first..).filter_map(|(_, stays)| stays.last_mut());
        stays.filter(|(_, stay)| stay.until == u64::MAX).for_each(|(_, stay)| stay.until = self.events);
    }

    /// Whether there was a moment at which all of them were there.
    fn held_at_once(&self, entries: &[Entry]) -> bool {
        let mut moments = vec![Stay { from: 0, until: u64::MAX }];
        for entry in entries.iter().filter(|entry| !self.unread.contains(&entry.id.index.0)) {
            let stays = self.stays.get(&entry.id.index.0).map_or(&[][..], Vec::as_slice);
            let own: Vec<Stay> = stays.iter().filter(|(id, _)| *id == entry.id).map(|(_, stay)| *stay).collect();
            let both = |one: &Stay| {
                let meets = |other: &Stay| Stay { from: one.from.max(other.from), until: one.until.min(other.until) };
                own.iter().map(meets).filter(|both| both.from < both.until).collect::<Vec<_>>()
            };
            moments = moments.iter().flat_map(both).collect();
        }
        !moments.is_empty()
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct ReadsOfOneLog {
    nodes: BTreeMap<IpAddr, Node>,
}

impl Checker for ReadsOfOneLog {
    fn name(&self) -> &'static str {
        "reads of one log"
    }

    fn check(&mut self, _view: &View, event: &Event) -> Result<(), String> {
        let node = self.nodes.entry(event.node).or_default();
        node.events += 1;
        match &event.deed {
            Deed::Opened { purged, entries, end, .. } => {
                let first = purged.map_or(0, |purged| purged.index.0 + 1);
                node.unread = first + entries.len() as u64..end.0;
                node.stays.clear();
                node.come(entries);
            }
            Deed::Appended(entries) => node.come(entries),
            Deed::Truncated(first) => node.go(first.0),
            Deed::Began(_) => node.go(0),
            Deed::Read(entries) if !node.held_at_once(entries) => {
                let ids: Vec<String> = entries.iter().map(|entry| entry.id.to_string()).collect();
                return Err(format!("a read gave what was never in its log at once: {}", ids.join(", ")));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use raft_log::types::LogIndex;

    use super::*;
    use crate::checkers::rig::{appended, by, entry, tells_apart};

    #[test]
    fn a_read_gives_entries_of_one_time() {
        let history = |read: &[Entry]| {
            vec![
                appended(1, &[entry(1, 0), entry(1, 1), entry(1, 2)]),
                by(1, Deed::Truncated(LogIndex(1))),
                appended(1, &[entry(2, 1), entry(2, 2)]),
                by(1, Deed::Read(read.to_vec())),
            ]
        };
        let mixed = history(&[entry(1, 1), entry(2, 2)]);
        tells_apart(ReadsOfOneLog::default, &history(&[entry(1, 0), entry(2, 1), entry(2, 2)]), &mixed);
        // What was removed while it was read was there when the read began.
        tells_apart(ReadsOfOneLog::default, &history(&[entry(1, 0), entry(1, 1), entry(1, 2)]), &mixed);
    }
}
