//! The entries that were read last. Under load one entry holds hundreds of messages and a receive takes a few of them:
//! without this, each receive behind the log's own cache would read and check the whole entry again.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use raft_log::types::{LogIndex, UnixMillis};

/// An entry that messages are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) index: LogIndex,
    pub(super) payload: Bytes,
    /// The leader's time on it.
    pub(super) stamp: UnixMillis,
}

/// Bounded by bytes; the oldest goes first. An entry never changes once it is committed, so nothing is invalidated.
pub(super) struct RecentEntries {
    recent: Mutex<(VecDeque<Entry>, usize)>,
    bytes_max: usize,
}

impl RecentEntries {
    pub(super) fn new(bytes_max: usize) -> RecentEntries {
        RecentEntries { recent: Mutex::default(), bytes_max }
    }

    pub(super) fn get(&self, index: LogIndex) -> Option<Entry> {
        self.lock().0.iter().rev().find(|entry| entry.index == index).cloned()
    }

    /// Keeps an entry, unless it alone is larger than the bound.
    pub(super) fn put(&self, entry: &Entry) {
        if entry.payload.len() > self.bytes_max {
            return;
        }
        let mut recent = self.lock();
        if recent.0.iter().any(|kept| kept.index == entry.index) {
            return;
        }
        recent.1 += entry.payload.len();
        recent.0.push_back(entry.clone());
        while recent.1 > self.bytes_max {
            let oldest = recent.0.pop_front().expect("the bytes are those of the entries");
            recent.1 -= oldest.payload.len();
        }
    }

    fn lock(&self) -> MutexGuard<'_, (VecDeque<Entry>, usize)> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, bytes: usize) -> Entry {
        Entry { index: LogIndex(index), payload: Bytes::from(vec![0; bytes]), stamp: UnixMillis(index) }
    }

    #[test]
    fn the_oldest_entries_make_room() {
        let recent = RecentEntries::new(100);
        for index in 1..=3 {
            recent.put(&entry(index, 40));
            recent.put(&entry(index, 40));
        }
        assert_eq!(recent.get(LogIndex(1)), None);
        assert_eq!(recent.get(LogIndex(2)), Some(entry(2, 40)));
        assert_eq!(recent.lock().1, 80);
    }

    #[test]
    fn an_entry_larger_than_the_bound_is_not_kept() {
        let recent = RecentEntries::new(100);
        recent.put(&entry(1, 50));
        recent.put(&entry(2, 101));
        assert!(recent.get(LogIndex(1)).is_some() && recent.get(LogIndex(2)).is_none());
    }
}
