//! Counters of the I/O thread.

/// A snapshot of the counters since the log was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageStats {
    /// Batches of appends written.
    pub batches: u64,
    /// Records written.
    pub records: u64,
    /// Bytes written to segments, headers included.
    pub bytes_written: u64,
    /// Syncs of segment data.
    pub syncs: u64,
    /// Nanoseconds spent in those syncs.
    pub sync_nanos: u64,
    /// Nanoseconds spent in writes.
    pub write_nanos: u64,
    /// How many syncs took less than 2^i microseconds (and not less than 2^(i-1)).
    pub sync_micros_log2: [u64; StorageStats::BUCKETS],
    /// Records that were read from files because the cache no longer held them.
    pub reads_from_files: u64,
    /// Damaged ranges that were repaired in place from peers.
    pub repaired_ranges: u64,
    /// Bytes of segments that the scrub read and checked.
    pub scrubbed_bytes: u64,
    /// How often the scrub has read all segments.
    pub scrub_rounds: u64,
    /// Payload bytes that are queued and not yet written.
    pub unwritten_bytes: u64,
    /// Bytes that can be appended before a new segment must be allocated: the rest of the active one, the next, and
    /// spare ones.
    pub allocated_bytes: u64,
    /// What the files of all segments take on disk, the unwritten rest of the active one included.
    pub log_bytes: u64,
    /// Bytes of released segments' files that are kept to become segments again.
    pub spare_bytes: u64,
    /// Segments that were made from a released one's file.
    pub segments_recycled: u64,
}

impl StorageStats {
    /// Buckets of the sync histogram: up to 2^31 microseconds.
    pub const BUCKETS: usize = 32;
}
