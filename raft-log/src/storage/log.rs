//! The log's public face.

use super::error::{OpenError, ReadError, StorageError};
use super::options::StorageOptions;
use super::record::{HardState, Record};
use super::report::{LogBounds, RecoveryReport};
use super::stats::StorageStats;
use crate::env::Env;
use crate::types::{LogId, LogIndex};
use std::sync::Arc;
use tokio::sync::watch;

/// Called once, on the I/O thread, in the order of the calls. MUST NOT block.
pub type Done = Box<dyn FnOnce(Result<(), Arc<StorageError>>) + Send>;

/// The log. Cheap to clone; all clones are one log.
#[derive(Clone)]
pub struct Log {}

impl Log {
    /// Opens or creates the log of `options.dir`.
    pub fn open(env: Env, options: StorageOptions) -> Result<(Log, RecoveryReport), OpenError> {
        todo!("{env:?}{options:?}")
    }

    /// Appends records that follow the end of the log. They are readable when this returns; `done` is called when they
    /// are persisted (or never will be). If this returns an error, `done` is dropped uncalled and nothing was changed.
    pub fn append(&self, records: Vec<Record>, done: Done) -> Result<(), StorageError> {
        let _ = (records, done);
        todo!()
    }

    /// Saves term and vote, synced twice (hazards 4), in order with the appends.
    pub fn save_hard_state(&self, hard_state: HardState, done: Done) -> Result<(), StorageError> {
        let _ = (hard_state, done);
        todo!()
    }

    /// Removes all entries after `keep` (all, if `None`), in order with the appends. They are gone for readers when
    /// this returns, and for good when `done` is called.
    pub fn truncate_after(&self, keep: Option<LogIndex>, done: Done) -> Result<(), StorageError> {
        let _ = (keep, done);
        todo!()
    }

    /// Moves the start that Raft sees behind `id`; deletes nothing. [`Log::bounds`] shows it when `done` is called.
    /// Refused if the log does not hold `id` (hazards 1); at or below the present purge point it changes nothing.
    pub fn purge_to(&self, id: LogId, done: Done) -> Result<(), StorageError> {
        let _ = (id, done);
        todo!()
    }

    /// Entries from `from` up to but not including `until`, as many as fit into `bytes_max` of payload, but at least
    /// one if there is any. Blocks on the disk when the cache no longer holds them.
    pub fn read(&self, from: LogIndex, until: LogIndex, bytes_max: usize) -> Result<Vec<Record>, ReadError> {
        let _ = (from, until, bytes_max);
        todo!()
    }

    /// Whether [`Log::read`] from `from` is served from memory, so without blocking.
    #[must_use]
    pub fn is_cached(&self, from: LogIndex) -> bool {
        let _ = from;
        todo!()
    }

    /// Where the log begins and ends, records that are not yet written included.
    #[must_use]
    pub fn bounds(&self) -> LogBounds {
        todo!()
    }

    /// The last index that is synced, in both modes of durability.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<Option<LogIndex>> {
        todo!()
    }

    /// The saved hard state.
    #[must_use]
    pub fn hard_state(&self) -> Option<HardState> {
        todo!()
    }

    /// Becomes `Some` once, when a write or sync failed: the node must stop.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<Arc<StorageError>>> {
        todo!()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> StorageStats {
        todo!()
    }

    /// Writes and syncs what is queued, stops the threads and releases the lock. Calls afterwards fail.
    pub fn shutdown(&self) {
        todo!()
    }
}
