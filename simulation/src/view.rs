//! What is known of each node from the outside, kept by its deeds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use raft_log::sim::observe::{Deed, Entry, Event};
use raft_log::storage::HardState;
use raft_log::types::{LogId, LogIndex, NodeId, Term};
use raft_log::{GateReason, Membership, RecordKind};

/// One node, through all its lives.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    /// Raft's log begins behind this entry.
    pub purged: Option<LogId>,
    /// Its log, written or not.
    pub log: BTreeMap<u64, Entry>,
    /// The term of the leader that it followed when it appended an entry.
    pub appended_in: BTreeMap<u64, Term>,
    /// Entries below this it called persisted.
    pub persisted_end: u64,
    /// Entries below this are on its disk, as it says; in `async` durability that comes later.
    pub synced_end: u64,
    /// Entries below this are covered by a durable mark on its disk.
    pub marked_end: u64,
    /// Truncations under way: what they remove may come back.
    pub cutting: u32,
    /// Its vote, as saved.
    pub vote: Option<HardState>,
    /// Why it keeps out of elections, and the highest term that any node had voted in when that began.
    pub gates: BTreeMap<GateReason, Option<Term>>,
    /// Its state machine needs no entry below this.
    pub needed_from: LogIndex,
    /// The last entry that its state machine applied, in this life.
    pub applied: Option<LogId>,
    /// What it was before its log began anew behind a checkpoint. Until the checkpoint is restored, a crash may bring that
    /// back.
    pub before: Option<Box<NodeView>>,
}

/// All nodes, and what is committed.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// By host.
    pub nodes: BTreeMap<IpAddr, NodeView>,
    /// What was known of nodes when their disks were replaced.
    pub wiped: BTreeMap<IpAddr, NodeView>,
    /// What was known of nodes when their disks were put back as they were earlier, or they forgot the end of their log.
    pub put_back: BTreeMap<IpAddr, NodeView>,
    /// Who can tell of each of them that it was put back.
    knowers: BTreeMap<IpAddr, IpAddr>,
    /// Each entry that some state machine applied, and a term in which it was committed at the latest.
    pub committed: BTreeMap<u64, (Entry, Term)>,
    /// All memberships that some node ever appended.
    pub memberships: BTreeMap<LogId, Membership>,
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
    /// It opened its folder and found this.
    fn open(&mut self, purged: Option<LogId>, entries: &[Entry], end: LogIndex, vote: Option<HardState>) {
        if let Some(before) = self.before.take_if(|before| before.purged == purged) {
            *self = *before;
        }
        let mut log: BTreeMap<u64, Entry> = entries.iter().map(|entry| (entry.id.index.0, *entry)).collect();
        // What it has but cannot read is what it had.
        let read_to = log.last_key_value().map_or(purged.map_or(0, |purged| purged.index.0 + 1), |(last, _)| last + 1);
        log.extend(self.log.range(read_to.min(end.0)..end.0));
        *self = NodeView {
            purged,
            log,
            vote,
            needed_from: self.needed_from,
            appended_in: std::mem::take(&mut self.appended_in),
            ..NodeView::default()
        };
        self.persisted_end = self.end();
        self.synced_end = self.end();
    }

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
        self.appended_in.split_off(&end);
        self.persisted_end = self.persisted_end.min(end);
    }
}

impl View {
    /// The node on this host.
    #[must_use]
    pub fn node(&self, host: IpAddr) -> Option<&NodeView> {
        self.nodes.get(&host)
    }

    /// The memberships by which an entry may be committed: the last one up to it, and later ones, which a leader goes by
    /// as soon as it has appended them. Everything before the entry is committed.
    #[must_use]
    pub fn may_govern(&self, entry: &Entry) -> Vec<&Membership> {
        let last = match entry.kind {
            RecordKind::Membership => Some(entry.id),
            _ => self.committed_memberships().rfind(|id| id.index < entry.id.index),
        };
        let later = self.memberships.iter().filter(|(id, _)| id.index > entry.id.index).map(|(_, of)| of);
        last.and_then(|last| self.memberships.get(&last)).into_iter().chain(later).collect()
    }

    fn committed_memberships(&self) -> impl DoubleEndedIterator<Item = LogId> {
        self.memberships
            .keys()
            .copied()
            .filter(|id| self.committed.get(&id.index.0).is_some_and(|(entry, _)| entry.id == *id))
    }

    /// The newest membership that is committed.
    #[must_use]
    pub fn newest_membership(&self) -> Option<&Membership> {
        self.committed_memberships().max_by_key(|id| id.index).and_then(|id| self.memberships.get(&id))
    }

    /// All sets of voters that are in force or may come into force.
    #[must_use]
    pub fn possible_voters(&self) -> Vec<BTreeSet<NodeId>> {
        let newest = self.committed_memberships().max_by_key(|id| id.index);
        let possible = self.memberships.iter().filter(|(id, _)| Some(id.index) >= newest.map(|newest| newest.index));
        possible.flat_map(|(_, of)| of.configs.iter().cloned()).collect()
    }

    /// How many changes of voters that one leader began were ended by another.
    #[must_use]
    pub fn changes_ended_by_others(&self) -> u64 {
        let mut committed: Vec<LogId> = self.committed_memberships().collect();
        committed.sort_by_key(|id| id.index);
        let joint = |id: &LogId| self.memberships[id].configs.len() > 1;
        let ended =
            committed.windows(2).filter(|pair| joint(&pair[0]) && !joint(&pair[1]) && pair[0].term < pair[1].term);
        ended.count() as u64
    }

    /// A node's disk is replaced by an empty one.
    pub fn wipe(&mut self, host: IpAddr) {
        if let Some(node) = self.nodes.remove(&host) {
            self.wiped.insert(host, node);
        }
    }

    /// A node's disk is put back as it was earlier, and this one can tell.
    pub fn put_back(&mut self, host: IpAddr, knower: IpAddr) {
        if let Some(node) = self.nodes.remove(&host) {
            self.put_back.insert(host, node);
            self.knowers.insert(host, knower);
        }
    }

    /// Whether this node's disk was put back as it was earlier, and one of those that vote can tell. Of a copy that was taken
    /// while the node ran only the leader of that time knows how far the node's log had come.
    #[must_use]
    pub fn is_known_older_copy(&self, host: IpAddr) -> bool {
        let Some(knower) = self.knowers.get(&host).map(|knower| node_of(*knower)) else { return false };
        self.possible_voters().iter().all(|voters| voters.contains(&knower))
    }

    /// The highest term that any node has a vote of.
    #[must_use]
    pub fn highest_term(&self) -> Option<Term> {
        self.nodes.values().filter_map(|node| node.vote).map(|vote| vote.term).max()
    }

    /// All that may have acknowledged something: the nodes as they are, and as they were before they were wiped, put back, or
    /// forgot the end of their log. What they had acknowledged before counts.
    pub fn acknowledgers(&self) -> impl Iterator<Item = (NodeId, &NodeView)> {
        let all = self.nodes.iter().chain(&self.wiped).chain(&self.put_back);
        all.map(|(host, node)| (node_of(*host), node))
    }

    /// Follows an event.
    pub fn take(&mut self, event: &Event) {
        let highest = self.highest_term();
        let node = self.nodes.entry(event.node).or_default();
        match &event.deed {
            Deed::Opened { purged, entries, end, in_doubt, vote } => {
                if *in_doubt {
                    // It may have forgotten what it had acknowledged.
                    self.put_back.insert(event.node, node.clone());
                }
                node.open(*purged, entries, *end, *vote);
                // So it must keep out of elections, until it says that it need not any more.
                if *in_doubt {
                    node.gates.insert(GateReason::AsyncUnclean, highest);
                }
            }
            Deed::Configured(id, of) => drop(self.memberships.insert(*id, of.clone())),
            Deed::Appended(entries) => {
                let term = node.vote.map_or(Term(0), |vote| vote.term);
                for entry in entries {
                    node.appended_in.insert(entry.id.index.0, term);
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
                node.cutting += 1;
            }
            Deed::Cut => node.cutting -= 1,
            Deed::Began(id) => {
                node.before = Some(Box::new(NodeView { before: None, ..node.clone() }));
                node.purged = Some(*id);
                node.log.clear();
                node.appended_in.clear();
                node.persisted_end = id.index.0 + 1;
            }
            Deed::Voted(vote) => node.vote = Some(*vote),
            Deed::Gated(reason, true) => drop(node.gates.insert(*reason, highest)),
            Deed::Gated(reason, false) => drop(node.gates.remove(reason)),
            Deed::Purged(upto) => {
                node.purged = node.purged.max(Some(*upto));
                node.log = node.log.split_off(&(upto.index.0 + 1));
                node.appended_in = node.appended_in.split_off(&(upto.index.0 + 1));
            }
            Deed::Applied(entry, _) => {
                node.applied = Some(entry.id);
                let term = node.vote.map_or(entry.id.term, |vote| vote.term);
                self.committed.entry(entry.id.index.0).or_insert((*entry, term));
            }
            Deed::Restored(id) => {
                node.applied = Some(*id);
                node.before = None;
            }
            Deed::Reset => node.applied = None,
            Deed::Trimmed(to) => node.needed_from = *to,
            Deed::Granted(_)
            | Deed::Read(_)
            | Deed::ReadPoint(_)
            | Deed::Flushed(_)
            | Deed::Checkpointed(_)
            | Deed::Repaired(..)
            | Deed::Digest(..) => {}
        }
    }
}

/// Whether the node votes: for another, or for itself. A vote that it saves may also be one that it has heard of.
pub(crate) fn grants(event: &Event) -> bool {
    match &event.deed {
        Deed::Granted(_) => true,
        Deed::Voted(vote) => !vote.committed && vote.voted_for == Some(node_of(event.node)),
        _ => false,
    }
}
