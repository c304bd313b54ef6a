//! The newest records, in memory: what was appended is readable at once, written or not.
//!
//! ```text
//!     cache_first ............ written_end ............ next
//!     │ may be evicted (in files) │ must stay (only here)  │
//! ```
//! Invariant: the cached records are contiguous and end right before `next`; none at or above `written_end` is evicted.

use super::record::Record;
use crate::types::LogIndex;
use std::collections::VecDeque;

/// What a cached record costs beside its payload, about.
const RECORD_OVERHEAD_BYTES: usize = 96;

/// The cached end of the log.
#[derive(Debug)]
pub(crate) struct Tail {
    records: VecDeque<Record>,
    bytes: usize,
    bytes_max: usize,
    /// The index after the last entry.
    next: LogIndex,
    /// Entries below this are in the files.
    written_end: LogIndex,
}

impl Tail {
    /// An empty cache at the end of a log whose entries below `next` are all in files.
    pub(crate) fn new(next: LogIndex, bytes_max: usize) -> Tail {
        Tail { records: VecDeque::new(), bytes: 0, bytes_max, next, written_end: next }
    }

    pub(crate) fn next(&self) -> LogIndex {
        self.next
    }

    /// The first cached entry, or the end of the log if none is cached.
    pub(crate) fn cache_first(&self) -> LogIndex {
        LogIndex(self.next.0 - self.records.len() as u64)
    }

    pub(crate) fn push(&mut self, record: Record) {
        assert_eq!(record.id.index, self.next, "appends are contiguous");
        self.bytes += cost(&record);
        self.next = self.next.next();
        self.records.push_back(record);
    }

    /// Entries below `end` are in the files now; drops the oldest of them that exceed the bound.
    pub(crate) fn written(&mut self, end: LogIndex) {
        assert!(end <= self.next, "nothing is written that was not appended");
        self.written_end = self.written_end.max(end);
        while self.bytes > self.bytes_max && self.cache_first() < self.written_end {
            let Some(record) = self.records.pop_front() else { break };
            self.bytes -= cost(&record);
        }
    }

    /// Forgets `first_removed` and everything after it.
    pub(crate) fn truncate(&mut self, first_removed: LogIndex) {
        while self.next > first_removed {
            self.next = LogIndex(self.next.0 - 1);
            if let Some(record) = self.records.pop_back() {
                assert_eq!(record.id.index, self.next, "the cache ends where the log does");
                self.bytes -= cost(&record);
            }
        }
        self.written_end = self.written_end.min(first_removed);
    }

    /// Forgets everything; the log goes on at `next`.
    pub(crate) fn begin(&mut self, next: LogIndex) {
        *self = Tail::new(next, self.bytes_max);
    }

    /// Clones cached records from `from` on into `records`, while their payloads fit into what `bytes_max` leaves
    /// beside `bytes`; always the first one if nothing was read before.
    pub(crate) fn read(
        &self,
        from: LogIndex,
        until: LogIndex,
        mut bytes: usize,
        bytes_max: usize,
        records: &mut Vec<Record>,
    ) {
        let first = self.cache_first();
        assert!(from >= first, "older entries are read from files");
        let start = usize::try_from(from.0 - first.0).expect("the cache fits into memory").min(self.records.len());
        let count = usize::try_from(until.0.saturating_sub(from.0)).unwrap_or(usize::MAX);
        for record in self.records.range(start..).take(count) {
            if !records.is_empty() && bytes + record.payload.len() > bytes_max {
                return;
            }
            bytes += record.payload.len();
            records.push(record.clone());
        }
    }
}

fn cost(record: &Record) -> usize {
    record.payload.len() + RECORD_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::RecordKind;
    use crate::types::{LogId, Term};
    use bytes::Bytes;

    fn record(index: u64) -> Record {
        let id = LogId { term: Term(1), index: LogIndex(index) };
        Record::new(id, RecordKind::Command, 1, Bytes::from(vec![7; 100]))
    }

    fn tail(entries: u64, bytes_max: usize) -> Tail {
        let mut tail = Tail::new(LogIndex(0), bytes_max);
        (0..entries).for_each(|index| tail.push(record(index)));
        tail
    }

    fn indexes(tail: &Tail, from: u64, until: u64, bytes_max: usize) -> Vec<u64> {
        let mut records = Vec::new();
        tail.read(LogIndex(from), LogIndex(until), 0, bytes_max, &mut records);
        records.iter().map(|record| record.id.index.0).collect()
    }

    #[test]
    fn what_is_not_written_stays_beyond_the_bound() {
        let mut tail = tail(10, 300);
        assert_eq!(tail.cache_first(), LogIndex(0));
        tail.written(LogIndex(4));
        assert_eq!(tail.cache_first(), LogIndex(4));
        tail.written(LogIndex(10));
        assert_eq!(tail.cache_first(), LogIndex(9));
    }

    #[test]
    fn reads_stop_at_the_bound_but_give_one_record() {
        let tail = tail(10, usize::MAX);
        assert_eq!(indexes(&tail, 3, 6, usize::MAX), [3, 4, 5]);
        assert_eq!(indexes(&tail, 3, 100, 250), [3, 4]);
        assert_eq!(indexes(&tail, 3, 100, 0), [3]);
        assert_eq!(indexes(&tail, 10, 100, 100), [0_u64; 0]);
    }

    #[test]
    fn truncation_below_the_cache_leaves_it_empty_at_the_new_end() {
        let mut tail = tail(10, 300);
        tail.written(LogIndex(10));
        tail.truncate(LogIndex(5));
        assert_eq!((tail.next(), tail.cache_first()), (LogIndex(5), LogIndex(5)));
        tail.push(record(5));
        assert_eq!(indexes(&tail, 5, 6, 100), [5]);
        tail.written(LogIndex(5));
        assert_eq!(tail.cache_first(), LogIndex(5));
    }
}
