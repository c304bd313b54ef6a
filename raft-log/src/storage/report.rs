//! What the log tells about itself: its bounds, and what its recovery found.

use crate::types::{LogId, LogIndex};
use std::path::PathBuf;

/// Where the log begins and ends, for Raft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// The last entry that Raft no longer sees; its bytes may still be on disk.
    pub purged: Option<LogId>,
    /// The last entry, or the purged one if nothing follows it.
    pub last: Option<LogId>,
}

/// One segment of the log on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The index of its first entry.
    pub base: LogIndex,
    /// The index after its last written entry.
    pub end: LogIndex,
    /// What the file takes on disk.
    pub bytes: u64,
    /// Nothing is appended to it any more.
    pub sealed: bool,
}

/// A tail that was being written when the node stopped: never acknowledged, so cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment file.
    pub file: PathBuf,
    /// Where the first bad record began.
    pub offset: u64,
    /// The index that it would have had.
    pub index: LogIndex,
    /// What was wrong with it.
    pub reason: String,
}

/// What [`crate::storage::Log::open`] found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segment files.
    pub segments: usize,
    /// Segments of which a saved index was read instead of all records.
    pub indexed_segments: usize,
    /// Records that were checked and kept.
    pub records: u64,
    /// Payload bytes that were checked.
    pub payload_bytes: u64,
    /// The highest durable mark: no record at or below it may be bad.
    pub mark: Option<LogIndex>,
    /// The tail that was cut, if any.
    pub torn_tail: Option<TornTail>,
    /// A truncation that was under way and has been finished: the first index that it removed.
    pub truncation_finished: Option<LogIndex>,
    /// A slot of the hard state was damaged or behind, and has been rewritten from the other.
    pub hard_state_repaired: bool,
    /// Files of which one of two copies was damaged, and has been written anew from the other.
    pub mended: Vec<PathBuf>,
}
