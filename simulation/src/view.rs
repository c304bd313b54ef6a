//! What is known of each node from the outside, kept by its deeds.

use std::collections::BTreeMap;
use std::net::IpAddr;

use raft_log::sim::observe::{Deed, Entry, Event};
use raft_log::storage::HardState;
use raft_log::types::{LogId, LogIndex, NodeId, Term};

/// One node, through all its lives.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    /// Raft's log begins behind this entry.
    pub purged: Option<LogId>,
    /// Its log, written or not.
    pub log: BTreeMap<u64, Entry>,
    /// Entries below this it called persisted.
    pub persisted_end: u64,
    /// Entries below this are on its disk, as it says; in `async` durability that comes later.
    pub synced_end: u64,
    /// Entries below this are covered by a durable mark on its disk.
    pub marked_end: u64,
    /// A truncation is under way: what it removes may come back.
    pub cutting: bool,
    /// Its vote, as saved.
    pub vote: Option<HardState>,
    /// Its state machine needs no entry below this.
    pub needed_from: LogIndex,
    /// The last entry that its state machine applied, in this life.
    pub applied: Option<LogId>,
}

/// All nodes, and what is committed.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// By host.
    pub nodes: BTreeMap<IpAddr, NodeView>,
    /// What was known of nodes when their disks were replaced.
    pub wiped: BTreeMap<IpAddr, NodeView>,
    /// Each entry that some state machine applied, and a term in which it was committed at the latest.
    pub committed: BTreeMap<u64, (Entry, Term)>,
    /// How many voters the group has.
    pub voters: usize,
}

/// The node on this host.
#[must_use]
pub fn node_of(host: IpAddr) -> NodeId {
    match host {
        IpAddr::V4(address) => NodeId(u64::from(address.octets()[3])),
        IpAddr::V6(_) => unreachable!("hosts of a simulation have IPv4 addresses"),
    }
}

impl NodeView {
    /// The index after its last entry.
    #[must_use]
    pub fn end(&self) -> u64 {
        let after_purged = self.purged.map_or(0, |purged| purged.index.0 + 1);
        self.log.last_key_value().map_or(after_purged, |(index, _)| index + 1)
    }

    /// Whether it holds exactly this entry, or has purged it.
    #[must_use]
    pub fn holds(&self, entry: &Entry) -> bool {
        let index = entry.id.index;
        self.purged.is_some_and(|purged| purged.index >= index) || self.log.get(&index.0) == Some(entry)
    }

    fn cut(&mut self, end: u64) {
        self.log.split_off(&end);
        self.persisted_end = self.persisted_end.min(end);
    }
}

impl View {
    /// The node on this host.
    #[must_use]
    pub fn node(&self, host: IpAddr) -> Option<&NodeView> {
        self.nodes.get(&host)
    }

    /// A node's disk is replaced by an empty one.
    pub fn wipe(&mut self, host: IpAddr) {
        if let Some(node) = self.nodes.remove(&host) {
            self.wiped.insert(host, node);
        }
    }

    /// Follows an event.
    pub fn take(&mut self, event: &Event) {
        let node = self.nodes.entry(event.node).or_default();
        match &event.deed {
            Deed::Opened { purged, entries, end, vote } => {
                let mut log: BTreeMap<u64, Entry> = entries.iter().map(|entry| (entry.id.index.0, *entry)).collect();
                // What it has but cannot read is what it had.
                let read_to =
                    log.last_key_value().map_or(purged.map_or(0, |purged| purged.index.0 + 1), |(last, _)| last + 1);
                log.extend(node.log.range(read_to.min(end.0)..end.0));
                *node = NodeView {
                    purged: *purged,
                    log,
                    vote: *vote,
                    needed_from: node.needed_from,
                    ..NodeView::default()
                };
                node.persisted_end = node.end();
                node.synced_end = node.end();
            }
            Deed::Appended(entries) => {
                for entry in entries {
                    node.log.insert(entry.id.index.0, *entry);
                }
            }
            Deed::Persisted(id) => {
                // A truncation may have come between.
                if node.log.get(&id.index.0).is_some_and(|entry| entry.id == *id) {
                    node.persisted_end = node.persisted_end.max(id.index.0 + 1);
                }
            }
            Deed::Synced(end) => node.synced_end = end.0,
            Deed::Marked(end) => node.marked_end = end.0,
            Deed::Truncated(LogIndex(end)) => {
                node.cut(*end);
                node.cutting = true;
            }
            Deed::Cut => node.cutting = false,
            Deed::Began(id) => {
                node.purged = Some(*id);
                node.log.clear();
                node.persisted_end = id.index.0 + 1;
            }
            Deed::Voted(vote) => node.vote = Some(*vote),
            Deed::Purged(upto) => {
                node.purged = node.purged.max(Some(*upto));
                node.log = node.log.split_off(&(upto.index.0 + 1));
            }
            Deed::Applied(entry, _) => {
                node.applied = Some(entry.id);
                let term = node.vote.map_or(entry.id.term, |vote| vote.term);
                self.committed.entry(entry.id.index.0).or_insert((*entry, term));
            }
            Deed::Restored(id) => node.applied = Some(*id),
            Deed::Reset => node.applied = None,
            Deed::Trimmed(to) => node.needed_from = *to,
            Deed::Flushed(_) | Deed::Checkpointed(_) => {}
        }
    }
}
