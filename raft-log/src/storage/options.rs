//! Settings and limits of the log on disk.

use crate::types::GroupId;
use std::path::PathBuf;

/// Default size of a segment file: 1 GiB.
pub const SEGMENT_BYTES_DEFAULT: u64 = 1 << 30;
/// Largest segment that offsets inside it can address.
pub const SEGMENT_BYTES_LIMIT: u64 = 1 << 32;
/// Default bound of the cache of the newest records: 64 MiB.
pub const CACHE_BYTES_DEFAULT: usize = 64 << 20;
/// Default bound of one record's payload: an 8 MiB entry and what frames it.
pub const RECORD_PAYLOAD_BYTES_DEFAULT: usize = (8 << 20) + (64 << 10);
/// Appends that wait are written together up to this many bytes.
pub const BATCH_BYTES_DEFAULT: usize = 8 << 20;

/// Files of released segments that are kept by default, to become segments again.
pub const SPARE_SEGMENTS_DEFAULT: usize = 2;

/// The index of the active segment is saved each time that so many bytes were written by default: 128 MiB.
pub const INDEX_EVERY_BYTES_DEFAULT: u64 = 128 << 20;

/// Free bytes of the disk below which publishes are refused by default: 256 MiB.
pub const RESERVE_BYTES_DEFAULT: u64 = 256 << 20;

/// When an append counts as persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After fdatasync: survives a power loss.
    Sync,
    /// After the write to the page cache: survives a killed process; fdatasync follows within about 10 ms.
    Async,
}

/// Settings of one log.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// The data folder; the log makes `log/`, `hard-state`, `manifest` and `LOCK` in it.
    pub dir: PathBuf,
    /// The broker group that the files belong to; files of another are refused.
    pub group: GroupId,
    /// When an append is acknowledged. Hard state is always synced.
    pub durability: Durability,
    /// Size of a new segment file in bytes.
    pub segment_bytes_max: u64,
    /// Bound of the cache of the newest records, in payload bytes. Records that are not yet written stay in it beyond.
    pub cache_bytes_max: usize,
    /// Largest payload of one record in bytes.
    pub record_payload_bytes_max: usize,
    /// Appends that wait are written together up to this many bytes.
    pub batch_bytes_max: usize,
    /// How many files of released segments are kept to become segments again, instead of new ones that must be zeroed.
    pub spare_segments_max: usize,
    /// The index of the active segment is saved each time that so many bytes were written to it; that is what a start
    /// after a killed process has to scan at most.
    pub index_every_bytes: u64,
    /// Opening cuts what the device cannot read at the very end of the log. Without it that is refused
    /// ([`OpenError::UnreadableTail`](super::OpenError::UnreadableTail)): entries that were acknowledged may go with it.
    pub cut_unreadable_tail: bool,
    /// When less than this is free on the disk, [`Room`](super::Room) is low: what only fills the disk must be refused.
    pub reserve_bytes: u64,
}

impl StorageOptions {
    /// The defaults, for the log of `group` in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, group: GroupId) -> StorageOptions {
        StorageOptions {
            dir: dir.into(),
            group,
            durability: Durability::Sync,
            segment_bytes_max: SEGMENT_BYTES_DEFAULT,
            cache_bytes_max: CACHE_BYTES_DEFAULT,
            record_payload_bytes_max: RECORD_PAYLOAD_BYTES_DEFAULT,
            batch_bytes_max: BATCH_BYTES_DEFAULT,
            spare_segments_max: SPARE_SEGMENTS_DEFAULT,
            index_every_bytes: INDEX_EVERY_BYTES_DEFAULT,
            cut_unreadable_tail: false,
            reserve_bytes: RESERVE_BYTES_DEFAULT,
        }
    }
}
