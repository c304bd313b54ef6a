//! The log of the group as Raft would make it: entries that are appended, replicated, committed, or lost.
//!
//! ```text
//!   appended by the leader ─► held by a majority, the last of them of its own term ─► committed, for ever
//!                       └───► not in the log of the next leader ─► lost
//! ```
//! Replicas have a prefix each of one list, because who is cut off takes a new leader's entries in the place of its own before it
//! is asked for anything. What Raft does to get there is the other simulation's subject.

use bytes::Bytes;
use raft_log::types::{LogId, LogIndex, Term, UnixMillis};
use raft_log::{ApplyEntry, ApplyKind};

use super::order::Order;
use crate::state::BatchBuilder;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    Producer(usize),
    Consumer(usize),
    Operator,
    Leader(Work),
    /// It has been told that nothing will be heard.
    Nobody,
}

/// The loops of a leader; each has one command under way at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    Tick,
    Renew,
    Keep,
    Erase,
    Idle,
    Retain,
    /// As when its disk fills.
    Release,
}

/// An entry with the commands in it, and who waits for each.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) apply: ApplyEntry,
    pub(super) orders: Vec<(Order, Asker)>,
}

impl Entry {
    pub(super) fn payload(&self) -> &[u8] {
        match &self.apply.kind {
            ApplyKind::Command(payload) => payload,
            ApplyKind::Blank | ApplyKind::Membership(_) => &[],
        }
    }
}

/// The list, and up to where it is committed.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Vec<Entry>,
    committed: u64,
}

impl Log {
    /// Behind the last entry.
    pub(super) fn end(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Behind the last committed entry.
    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    pub(super) fn entry(&self, index: u64) -> &Entry {
        &self.entries[usize::try_from(index).expect("an index of this log")]
    }

    /// The payload of an entry, wherever a replica still has it.
    pub(super) fn payload(&self, index: LogIndex) -> Option<Bytes> {
        match &self.entries.get(usize::try_from(index.0).ok()?)?.apply.kind {
            ApplyKind::Command(payload) => Some(payload.clone()),
            ApplyKind::Blank | ApplyKind::Membership(_) => None,
        }
    }

    /// Bytes of entries from one on.
    pub(super) fn bytes_from(&self, first: u64) -> u64 {
        let first = usize::try_from(first).expect("an index of this log").min(self.entries.len());
        self.entries[first..].iter().map(|entry| entry.payload().len() as u64).sum()
    }

    /// A new leader's first entry.
    pub(super) fn append_blank(&mut self, term: Term) {
        self.append(term, ApplyKind::Blank, Vec::new());
    }

    pub(super) fn append_orders(&mut self, term: Term, stamp: UnixMillis, orders: Vec<(Order, Asker)>) {
        let mut batch = BatchBuilder::new();
        orders.iter().for_each(|(order, _)| batch.push(&order.encode()));
        self.append(term, ApplyKind::Command(batch.build(stamp)), orders);
    }

    fn append(&mut self, term: Term, kind: ApplyKind, orders: Vec<(Order, Asker)>) {
        let id = LogId { term, index: LogIndex(self.end()) };
        self.entries.push(Entry { apply: ApplyEntry { id, kind }, orders });
    }

    /// A new leader has a shorter log.
    pub(super) fn lose_from(&mut self, end: u64) {
        assert!(end >= self.committed, "what is committed is never lost");
        self.entries.truncate(usize::try_from(end).expect("an index of this log"));
    }

    /// Who waits for an entry; nobody does any more.
    pub(super) fn take_askers(&mut self, index: u64) -> Vec<Asker> {
        let entry = &mut self.entries[usize::try_from(index).expect("an index of this log")];
        entry.orders.iter_mut().map(|(_, asker)| std::mem::replace(asker, Asker::Nobody)).collect()
    }

    /// Who waits for entries from one on; nobody does any more.
    pub(super) fn forget_askers(&mut self, from: u64) -> Vec<Asker> {
        (from..self.end()).flat_map(|index| self.take_askers(index)).filter(|asker| *asker != Asker::Nobody).collect()
    }

    /// A majority has everything before `end`; it is committed if the last of it is of the leader's own term.
    pub(super) fn commit(&mut self, end: u64, term: Term) {
        if end > self.committed && self.entry(end - 1).apply.id.term == term {
            self.committed = end;
        }
    }
}
