//! Settings and limits of the log on disk.

use super::format::record_header::stride_of;
use crate::types::GroupId;
use std::path::PathBuf;
use std::time::Duration;

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

/// How long nothing must come before the durable mark is written by itself, by default. Each write carries the mark of what was
/// durable before it, so this is only for the last of them; and with less than this a log that is appended to ten times a second
/// would sync twice for each record. Under simulation it is short, so that damage can be told from torn writes often.
pub const IDLE_BEFORE_MARK_DEFAULT: Duration = Duration::from_millis(if cfg!(tercet_sim) { 40 } else { 1_000 });

/// Free bytes of the disk below which publishes are refused by default: 256 MiB.
pub const RESERVE_BYTES_DEFAULT: u64 = 256 << 20;

/// Distances inside of a segment that follow from how fast disks are, not from what users want. They are options so that a
/// test can make them small: each of them bounds what recovery looks at. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The index of the active segment is saved each time that so many bytes were written to it; that is what a start
    /// after a killed process has to scan at most.
    pub index_every: u64,
    /// Most that is written without a sync, in both modes of durability, one record more. Recovery looks as far for the
    /// remains of a torn write.
    pub unsynced_max: u64,
    /// Behind that, recovery reads one block in so many bytes of space that should be unwritten.
    pub probe_spacing: u64,
    /// Kept between the writer and what is zeroed in front of it, so that they do not meet.
    pub zero_margin: u64,
    /// So much is zeroed in front of an idle writer, the margin included.
    pub zero_ahead: u64,
    /// How much is zeroed and synced at once; what is appended meanwhile waits that long. At 5,000 entries a second the p99
    /// was 11 ms with 8 MiB, 5 ms with 1 MiB.
    pub zero_chunk: u64,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            index_every: 128 << 20,
            unsynced_max: 32 << 20,
            probe_spacing: 32 << 20,
            zero_margin: 4 << 20,
            zero_ahead: 16 << 20,
            zero_chunk: 1 << 20,
        }
    }
}

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
    /// Opening cuts what the device cannot read at the very end of the log. Without it that is refused
    /// ([`OpenError::UnreadableTail`](super::OpenError::UnreadableTail)): entries that were acknowledged may go with it.
    pub cut_unreadable_tail: bool,
    /// When less than this is free on the disk, [`Room`](super::Room) is low: what only fills the disk must be refused.
    pub reserve_bytes: u64,
    /// Distances inside of a segment; the defaults fit.
    pub sizes: Sizes,
    /// When nothing came for this long, the durable mark is written, which costs a sync: so long may damage to the last records
    /// look like a torn write (hazards 3).
    pub idle_before_mark: Duration,
    /// While the disk is fuller than this percentage, whatever fills it, [`Room`](super::Room) is low and no spare segments
    /// are kept. 100: never.
    pub disk_high_water_percent: u8,
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
            cut_unreadable_tail: false,
            reserve_bytes: RESERVE_BYTES_DEFAULT,
            sizes: Sizes::default(),
            idle_before_mark: IDLE_BEFORE_MARK_DEFAULT,
            disk_high_water_percent: 100,
        }
    }

    /// Most bytes that can have been written without a sync when the power went off.
    pub(crate) fn unsynced_reach(&self) -> u64 {
        self.sizes.unsynced_max + stride_of(self.record_payload_bytes_max)
    }
}
