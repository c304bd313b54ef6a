//! How much is written and not yet synced, so that it can be bounded.
//!
//! Recovery looks for the remains of a torn write behind the last good record. It need not look further than what can
//! have been under way at once: half of the bound that no sync has covered, and one write that is another half or a record.

use crate::types::LogIndex;
use std::collections::VecDeque;

/// Writes that no sync has covered yet.
#[derive(Debug)]
pub(super) struct Unsynced {
    /// See [`Sizes::unsynced_max`](crate::storage::Sizes).
    bytes_max: u64,
    /// (the index after the write, its bytes), ascending.
    writes: VecDeque<(LogIndex, u64)>,
    bytes: u64,
}

impl Unsynced {
    pub(super) fn new(bytes_max: u64) -> Unsynced {
        Unsynced { bytes_max, writes: VecDeque::new(), bytes: 0 }
    }

    /// Bytes of one write after which it is synced at once, so that the bound holds whatever comes with it.
    pub(super) fn write_bytes_max(&self) -> u64 {
        self.bytes_max / 2
    }

    /// Notes a write, and drops those that are durable by now.
    pub(super) fn wrote(&mut self, end: LogIndex, bytes: u64, durable_end: LogIndex) {
        self.writes.push_back((end, bytes));
        self.bytes += bytes;
        while let Some((_, bytes)) = self.writes.pop_front_if(|(end, _)| *end <= durable_end) {
            self.bytes -= bytes;
        }
    }

    /// Whether the next write must wait for a sync.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > self.bytes_max / 2
    }

    /// Everything was synced.
    pub(super) fn synced(&mut self) {
        self.writes.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_until_syncs_catch_up() {
        let mut unsynced = Unsynced::new(1_000);
        unsynced.wrote(LogIndex(1), unsynced.write_bytes_max(), LogIndex(0));
        assert!(!unsynced.is_full(), "one write is never too much");
        unsynced.wrote(LogIndex(2), 1, LogIndex(0));
        assert!(unsynced.is_full());
        unsynced.wrote(LogIndex(3), 1, LogIndex(1));
        assert!(!unsynced.is_full());
        unsynced.wrote(LogIndex(4), 1_000, LogIndex(1));
        assert!(unsynced.is_full());
        unsynced.synced();
        assert!(!unsynced.is_full());
    }
}
