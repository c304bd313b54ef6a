//! The store beneath the working set: one RocksDB, one column family.
//!
//! The Raft log is its write-ahead log: RocksDB's own is off, and what is written stays in the memtable until
//! a flush is begun, which happens only when the node's log is durable that far (hazards 1). So nothing here may flush by
//! itself: the write buffer is larger than it can become, closing does not flush, and no manual compaction runs while the
//! memtable holds anything. One column family makes every flush atomic (hazards 18). Background compaction only rewrites
//! what a flush has persisted.
//!
//! ```text
//!   begin_flush ──► the memtable is frozen, a new one takes what is written from now on        microseconds
//!   finish_flush ─► the frozen one is a table, its name is in the manifest, both are synced    seconds, on another thread
//! ```
//! One flush at a time, so the frozen memtable is the only one, and what a finished flush has persisted is exactly what was
//! written before it began. A checkpoint is a flush, and then links to all tables: no memtable is part of it, so what is
//! written meanwhile is not in it.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::properties::{CUR_SIZE_ACTIVE_MEM_TABLE, NUM_IMMUTABLE_MEM_TABLE};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, ErrorKind, FlushOptions, LogLevel, Options, ReadOptions,
    WaitForCompactOptions, WriteBatch, WriteOptions,
};

use super::{keys::KEY_BYTES_MAX, replace};

/// The memtable never gets near this, see [`Store::memtable_bytes`]; RocksDB allocates it bit by bit.
const WRITE_BUFFER_BYTES: usize = 16 << 30;
const BLOCK_CACHE_BYTES: usize = 16 << 20;
const FILE_BYTES_TARGET: u64 = 64 << 20;
/// Files that are kept open, where the process may have eight times as many.
const OPEN_FILES_MAX: u64 = 256;
const BACKGROUND_JOBS: i32 = 2;
/// Memtables that RocksDB holds before it stops writes: the one that is written, the one that is flushed, and one to spare.
const MEMTABLES_MAX: i32 = 3;
/// A table is handed to the disk in pieces of this size while it is written, so that no single sync at its end holds up
/// those of the log.
const SYNC_BYTES: u64 = 1 << 20;
/// RocksDB tells nobody when a flush has ended but who began it and waits (or a listener, which the binding does not
/// have); its background work is waited for, this long at a time.
const FLUSH_WAIT: Duration = Duration::from_millis(5);
/// No log of RocksDB's own is this large, so no checkpoint flushes by itself.
const NEVER_FLUSH: u64 = u64::MAX;

/// RocksDB refused a read or a write; its text names the file.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the state's store failed to {action}: {reason}")]
pub(crate) struct StoreError {
    action: &'static str,
    reason: String,
}

impl StoreError {
    fn new(action: &'static str) -> impl Fn(rocksdb::Error) -> StoreError {
        move |error| StoreError { action, reason: error.to_string() }
    }
}

/// A record: its key and its value.
pub(crate) type KeyValue = (Box<[u8]>, Box<[u8]>);

pub(crate) struct Store {
    folder: PathBuf,
    /// `None` only while it is replaced.
    db: Option<DB>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Store {
    pub(crate) fn open(folder: &Path) -> Result<Store, StoreError> {
        let leftover = |error: io::Error| StoreError { action: "open", reason: error.to_string() };
        replace::settle(folder).map_err(leftover)?;
        Ok(Store { folder: folder.into(), db: Some(open(folder)?) })
    }

    fn db(&self) -> &DB {
        self.db.as_ref().expect("a store that is being replaced is not used")
    }

    /// Writes everything that is flushed into the new folder `to`, as tables that nobody changes any more: what was
    /// written before the flush that was finished last was begun, and nothing since. No flush runs meanwhile.
    pub(crate) fn checkpoint(&self, to: &Path) -> Result<(), StoreError> {
        let maker = Checkpoint::new(self.db()).map_err(StoreError::new("make a checkpoint"))?;
        maker.create_checkpoint_with_log_size(to, NEVER_FLUSH).map_err(StoreError::new("make a checkpoint"))
    }

    /// Makes a store of what a checkpoint holds ready beside this one; [`restore`](Self::restore) puts it in place.
    pub(crate) fn prepare(folder: &Path, from: &Path) -> Result<Store, StoreError> {
        let beside = replace::prepare(folder, from).map_err(restoring)?;
        let db = open(&beside)?;
        Ok(Store { folder: beside, db: Some(db) })
    }

    /// Replaces everything by the store that was made ready, which nobody has open; whole or not at all, durably.
    pub(crate) fn restore(&mut self) -> Result<(), StoreError> {
        self.db = None;
        replace::put_in_place(&self.folder).map_err(restoring)?;
        self.db = Some(open(&self.folder)?);
        Ok(())
    }

    /// Removes what a restore has replaced. May take long.
    pub(crate) fn remove_replaced(&self) -> Result<(), StoreError> {
        replace::remove_replaced(&self.folder).map_err(restoring)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db().get(key).map_err(StoreError::new("read"))
    }

    /// Visits the records whose keys begin with `prefix`, in order, until `visit` breaks.
    pub(crate) fn scan<E: From<StoreError>>(
        &self,
        prefix: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        self.scan_from(prefix, prefix, visit)
    }

    /// Like [`scan`](Self::scan), from the key `from` on.
    pub(crate) fn scan_from<E: From<StoreError>>(
        &self,
        prefix: &[u8],
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let mut reading = ReadOptions::default();
        reading.fill_cache(false);
        let mut at = self.db().raw_iterator_opt(reading);
        at.seek(from);
        while let Some((key, value)) = at.item().filter(|(key, _)| key.starts_with(prefix)) {
            if visit(key, value)?.is_break() {
                break;
            }
            at.next();
        }
        Ok(at.status().map_err(StoreError::new("read"))?)
    }

    /// The last record at or before `key` whose key begins with `prefix`.
    pub(crate) fn at_or_before(&self, prefix: &[u8], key: &[u8]) -> Result<Option<KeyValue>, StoreError> {
        // Not the binding's iterator, which steps on before it answers: over all that was deleted before the record.
        let mut at = self.db().raw_iterator();
        at.seek_for_prev(key);
        let found = at.item().filter(|(key, _)| key.starts_with(prefix));
        let found = found.map(|(key, value)| (Box::from(key), Box::from(value)));
        at.status().map_err(StoreError::new("read"))?;
        Ok(found)
    }

    /// Visits the last record of each prefix of `length` bytes among the keys that begin with `kind`, the greatest first. Costs
    /// one seek for each prefix that is there, however many records it has, with one iterator for all.
    pub(crate) fn last_of_each<E: From<StoreError>>(
        &self,
        kind: &[u8],
        length: usize,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reading = ReadOptions::default();
        reading.fill_cache(false);
        let mut at = self.db().raw_iterator_opt(reading);
        at.seek_for_prev([kind, &[u8::MAX; KEY_BYTES_MAX]].concat());
        while let Some((key, value)) = at.item().filter(|(key, _)| key.starts_with(kind)) {
            visit(key, value)?;
            let Some(prefix) = key.get(..length).map(<[u8]>::to_vec) else { break };
            // A step is cheaper than a seek, where a prefix has one record.
            at.prev();
            if at.key().is_some_and(|key| key.starts_with(&prefix)) {
                // All keys of the prefix are longer than it, and so behind it.
                at.seek_for_prev(prefix);
            }
        }
        Ok(at.status().map_err(StoreError::new("read"))?)
    }

    /// Puts a batch into the memtable, all of it or nothing.
    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let mut writing = WriteOptions::default();
        writing.disable_wal(true);
        self.db().write_opt(batch, &writing).map_err(StoreError::new("write"))
    }

    /// Freezes the memtable and has RocksDB persist it in the background. The last flush is finished.
    pub(crate) fn begin_flush(&self) -> Result<(), StoreError> {
        if self.frozen_memtables()? > 0 {
            // One flush at a time; so the last one, or the one of the last checkpoint, has failed.
            let reason = "what the last flush froze is still not persisted".to_owned();
            return Err(StoreError { action: "begin a flush", reason });
        }
        let mut flushing = FlushOptions::default();
        flushing.set_wait(false);
        self.db().flush_opt(&flushing).map_err(StoreError::new("begin a flush"))
    }

    /// Returns when what the flush froze is durable. Blocks.
    pub(crate) fn finish_flush(&self) -> Result<(), StoreError> {
        let mut waiting = WaitForCompactOptions::default();
        waiting.set_timeout(u64::try_from(FLUSH_WAIT.as_micros()).expect("a few thousand"));
        while self.frozen_memtables()? > 0 {
            match self.db().wait_for_compact(&waiting) {
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) => return Err(StoreError::new("flush")(error)),
                Ok(()) if self.frozen_memtables()? == 0 => {}
                Ok(()) => {
                    let reason = "RocksDB has stopped working on it".to_owned();
                    return Err(StoreError { action: "flush", reason });
                }
            }
        }
        Ok(())
    }

    /// Persists everything that was written.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.begin_flush()?;
        self.finish_flush()
    }

    /// Memtables that a flush was begun for and that are not persisted yet.
    fn frozen_memtables(&self) -> Result<u64, StoreError> {
        let count = self.db().property_int_value(NUM_IMMUTABLE_MEM_TABLE).map_err(StoreError::new("look at"))?;
        count.ok_or_else(|| StoreError { action: "look at", reason: "it does not count its memtables".to_owned() })
    }

    /// Drops every record, durably.
    pub(crate) fn clear(&self) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.delete_range([0u8].as_slice(), [0xff; 64].as_slice());
        self.write(batch)?;
        self.flush()?;
        // The memtable is empty now, so a manual compaction persists nothing that the log may lack.
        self.db().compact_range::<&[u8], &[u8]>(None, None);
        Ok(())
    }

    /// Bytes that wait for a flush to be begun.
    pub(crate) fn memtable_bytes(&self) -> u64 {
        let bytes = self.db().property_int_value(CUR_SIZE_ACTIVE_MEM_TABLE);
        bytes.ok().flatten().unwrap_or(0)
    }
}

fn restoring(error: io::Error) -> StoreError {
    StoreError { action: "restore a checkpoint", reason: error.to_string() }
}

fn open(folder: &Path) -> Result<DB, StoreError> {
    let options = options().map_err(StoreError::new("open"))?;
    DB::open(&options, folder).map_err(StoreError::new("open"))
}

/// How many files a store keeps open in a process that may have `limit` of them: an eighth.
pub(crate) fn open_files_max(limit: u64) -> u64 {
    (limit / 8).min(OPEN_FILES_MAX)
}

fn options() -> Result<Options, rocksdb::Error> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    // These have no setter in the binding. Without the first, closing the store would flush what the log may lack.
    let mut options = Options::default()
        .get_options_from_string("avoid_flush_during_shutdown=true;avoid_flush_during_recovery=true")?;
    options.create_if_missing(true);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_db_write_buffer_size(0);
    options.set_max_write_buffer_number(MEMTABLES_MAX);
    options.set_bytes_per_sync(SYNC_BYTES);
    options.set_arena_block_size(1 << 20);
    options.set_target_file_size_base(FILE_BYTES_TARGET);
    options.set_max_open_files(i32::try_from(open_files_max(limit)).expect("at most some hundred"));
    options.set_max_background_jobs(BACKGROUND_JOBS);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_paranoid_checks(true);
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_format_version(5);
    options.set_block_based_table_factory(&blocks);
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// hazards 1: more than RocksDB would hold in memory by its own settings.
    #[test]
    fn however_much_is_written_nothing_is_persisted_before_a_flush_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let megabyte = vec![7_u8; 1 << 20];
        let keys: Vec<[u8; 4]> = (0..100_u32).map(u32::to_be_bytes).collect();
        for key in &keys {
            let mut batch = WriteBatch::default();
            batch.put(key, &megabyte);
            store.write(batch).unwrap();
        }
        // What RocksDB had frozen by itself would be persisted now.
        store.finish_flush().unwrap();
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        let persisted = keys.iter().filter(|key| store.get(key.as_slice()).unwrap().is_some());
        assert_eq!(persisted.count(), 0);
    }
}
