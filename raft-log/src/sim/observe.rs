//! What the checkers of a simulation see: each change of a log, a vote or a state, in the order in which they happened.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::membership::Membership;
use crate::raft::gate_reason::GateReason;
use crate::sim::Process;
use crate::storage::{Done, HardState, LogBounds, Record, RecordKind, StorageError};
use crate::types::{LogId, LogIndex};

/// An entry, as far as two copies of it must be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its term and index.
    pub id: LogId,
    /// What it carries.
    pub kind: RecordKind,
    /// The CRC of its payload.
    pub payload_crc: u32,
}

impl From<&Record> for Entry {
    fn from(record: &Record) -> Entry {
        Entry { id: record.id, kind: record.kind, payload_crc: record.payload_crc }
    }
}

/// What a node did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It opened its folder and found this.
    Opened {
        /// Raft's log begins behind this entry.
        purged: Option<LogId>,
        /// The log, as far as it could be read.
        entries: Vec<Entry>,
        /// Where it ends.
        end: LogIndex,
        /// It may have forgotten what came behind that, and knows it.
        in_doubt: bool,
        /// The saved vote.
        vote: Option<HardState>,
    },
    /// An entry that it is about to append states who belongs to the group.
    Configured(LogId, Membership),
    /// It appended entries, in memory.
    Appended(Vec<Entry>),
    /// It told Raft that its log is persisted through this entry.
    Persisted(LogId),
    /// Entries from the first on and before the second were damaged on its disk, and are written anew from a peer's.
    Repaired(LogIndex, LogIndex),
    /// Its disk holds everything before this entry.
    Synced(LogIndex),
    /// A durable mark on its disk says that everything before this entry is there.
    Marked(LogIndex),
    /// It removed this entry and everything after it.
    Truncated(LogIndex),
    /// It read these entries from its files, for a follower.
    Read(Vec<Entry>),
    /// It gave a client a read point of this entry.
    ReadPoint(LogIndex),
    /// It told Raft that what it removed is gone for good.
    Cut,
    /// It began its log anew behind this entry, which a checkpoint stands for.
    Began(LogId),
    /// It told Raft that this vote is saved: one that it gives, or one that it has heard of.
    Voted(HardState),
    /// It answered a candidate that it votes for it.
    Granted(HardState),
    /// From now on it keeps out of elections for this reason, or, `false`, no more for this one.
    Gated(GateReason, bool),
    /// It moved the start of Raft's log behind this entry.
    Purged(LogId),
    /// Its state machine applied this entry, with this payload.
    Applied(Entry, Bytes),
    /// Its state machine persisted everything through this entry.
    Flushed(LogId),
    /// Its state machine dropped everything.
    Reset,
    /// Its state machine needs no entry below this any more.
    Trimmed(LogIndex),
    /// Its state machine wrote a checkpoint of everything through this entry.
    Checkpointed(LogId),
    /// Its state machine was replaced by a checkpoint of everything through this entry.
    Restored(LogId),
    /// Its state after this entry has this digest.
    Digest(LogId, u64),
}

/// One step of a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The node's host.
    pub node: IpAddr,
    /// What it did.
    pub deed: Deed,
}

thread_local! {
    static EVENTS: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

/// Takes all events since the last call.
#[must_use]
pub fn take_events() -> Vec<Event> {
    EVENTS.take()
}

/// Notes what the process that calls this does.
pub fn observe(deed: Deed) {
    if let Some(process) = Process::current() {
        observe_of(process.address(), deed);
    }
}

/// Notes what a node does in the eyes of somebody else.
pub fn observe_of(node: IpAddr, deed: Deed) {
    EVENTS.with_borrow_mut(|events| events.push(Event { node, deed }));
}

/// Notes entries that are about to be appended.
pub(crate) fn observe_appending(records: &[Record]) {
    for record in records.iter().filter(|record| record.kind == RecordKind::Membership) {
        let of = Membership::decode(&record.payload).expect("openraft appends what it encoded");
        observe(Deed::Configured(record.id, of));
    }
    observe(Deed::Appended(records.iter().map(Entry::from).collect()));
}

/// Notes what a log holds that was just opened, within these bounds and as `read` from and until an index; `in_doubt` if it may
/// have forgotten what comes behind that.
pub(crate) fn observe_opened(
    bounds: &LogBounds,
    vote: Option<HardState>,
    in_doubt: bool,
    read: impl Fn(LogIndex, LogIndex) -> Option<Vec<Record>>,
) {
    let first = bounds.purged.map_or(LogIndex(0), |purged| purged.index.next());
    let end = bounds.last.map_or(LogIndex(0), |last| last.index.next());
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = first;
    while at < end {
        // A device may fail once; what stays unreadable is the log's to find, not ours.
        let Some(records) = (0..3).find_map(|_| read(at, end)) else { break };
        let Some(last) = records.last() else { break };
        at = last.id.index.next();
        entries.extend(records.iter().map(Entry::from));
    }
    observe(Deed::Opened { purged: bounds.purged, entries, end, in_doubt, vote });
}

/// Lets `done` say that entries up to `last` are persisted.
pub(crate) fn observing(deed: Deed, done: Done) -> Done {
    let process = Process::current();
    Box::new(move |result: Result<(), Arc<StorageError>>| {
        if let (Ok(()), Some(process)) = (&result, process) {
            EVENTS.with_borrow_mut(|events| events.push(Event { node: process.address(), deed }));
        }
        done(result);
    })
}
