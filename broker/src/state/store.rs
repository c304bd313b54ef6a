//! The store beneath the working set: one RocksDB, one column family.
//!
//! The Raft log is its write-ahead log: RocksDB's own is off, and what is written stays in the memtable until
//! [`Store::flush`] is called, which happens only when the node's log is durable that far (hazards 1). So nothing here
//! may flush by itself: the write buffer is larger than it can become, closing does not flush, and no manual
//! compaction runs while the memtable holds anything. One column family makes every flush atomic (hazards 18).
//! Background compaction only rewrites what a flush has persisted.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, FlushOptions, IteratorMode, LogLevel, Options,
    ReadOptions, WriteBatch, WriteOptions,
};

use super::replace;

/// The memtable never gets near this, see [`Store::memtable_bytes`]; RocksDB allocates it bit by bit.
const WRITE_BUFFER_BYTES: usize = 16 << 30;
const BLOCK_CACHE_BYTES: usize = 16 << 20;
const FILE_BYTES_TARGET: u64 = 64 << 20;
const OPEN_FILES_MAX: i32 = 256;
const BACKGROUND_JOBS: i32 = 2;

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

    /// Writes everything into the new folder `to`, as tables that nobody changes any more. Flushes, so it is called only
    /// when the node's log is durable that far.
    pub(crate) fn checkpoint(&self, to: &Path) -> Result<(), StoreError> {
        let maker = Checkpoint::new(self.db()).map_err(StoreError::new("make a checkpoint"))?;
        maker.create_checkpoint(to).map_err(StoreError::new("make a checkpoint"))
    }

    /// Replaces everything by what a checkpoint holds; whole or not at all, durably.
    pub(crate) fn restore(&mut self, from: &Path) -> Result<(), StoreError> {
        let failed = |error: io::Error| StoreError { action: "restore a checkpoint", reason: error.to_string() };
        self.db = None;
        replace::replace(&self.folder, from).map_err(failed)?;
        self.db = Some(open(&self.folder)?);
        Ok(())
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db().get(key).map_err(StoreError::new("read"))
    }

    /// Visits the records whose keys begin with `prefix`, in order, until `visit` breaks.
    pub(crate) fn scan<E: From<StoreError>>(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let mut reading = ReadOptions::default();
        reading.fill_cache(false);
        for item in self.db().iterator_opt(IteratorMode::From(prefix, Direction::Forward), reading) {
            let (key, value) = item.map_err(StoreError::new("read"))?;
            if !key.starts_with(prefix) || visit(&key, &value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The last record at or before `key` whose key begins with `prefix`.
    pub(crate) fn at_or_before(&self, prefix: &[u8], key: &[u8]) -> Result<Option<KeyValue>, StoreError> {
        let mut found = self.db().iterator(IteratorMode::From(key, Direction::Reverse));
        match found.next() {
            None => Ok(None),
            Some(item) => {
                let item = item.map_err(StoreError::new("read"))?;
                Ok(item.0.starts_with(prefix).then_some(item))
            }
        }
    }

    /// Puts a batch into the memtable, all of it or nothing.
    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let mut writing = WriteOptions::default();
        writing.disable_wal(true);
        self.db().write_opt(batch, &writing).map_err(StoreError::new("write"))
    }

    /// Persists everything that was written.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let mut flushing = FlushOptions::default();
        flushing.set_wait(true);
        self.db().flush_opt(&flushing).map_err(StoreError::new("flush"))
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

    /// Bytes that wait for a flush.
    pub(crate) fn memtable_bytes(&self) -> u64 {
        let bytes = self.db().property_int_value("rocksdb.cur-size-all-mem-tables");
        bytes.ok().flatten().unwrap_or(0)
    }
}

fn open(folder: &Path) -> Result<DB, StoreError> {
    let options = options().map_err(StoreError::new("open"))?;
    DB::open(&options, folder).map_err(StoreError::new("open"))
}

fn options() -> Result<Options, rocksdb::Error> {
    // These have no setter in the binding. Without the first, closing the store would flush what the log may lack.
    let mut options = Options::default()
        .get_options_from_string("avoid_flush_during_shutdown=true;avoid_flush_during_recovery=true")?;
    options.create_if_missing(true);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_db_write_buffer_size(0);
    options.set_max_write_buffer_number(2);
    options.set_arena_block_size(1 << 20);
    options.set_target_file_size_base(FILE_BYTES_TARGET);
    options.set_max_open_files(OPEN_FILES_MAX);
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
