//! What the log holds: records, and beside them the hard state of Raft.

use crate::types::{LogId, NodeId, Term};
use bytes::Bytes;

/// What a record's payload is. The storage carries it and does not look inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A leader's first entry; no payload.
    Blank,
    /// A command for the state machine.
    Command,
    /// A membership of the group.
    Membership,
}

/// One entry of the log. Equal on all replicas but for where it lies on disk (hazards 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Term and index.
    pub id: LogId,
    /// What the payload is.
    pub kind: RecordKind,
    /// Messages in the payload, for metrics and tools.
    pub count: u32,
    /// The bytes, as received.
    pub payload: Bytes,
    /// CRC32C of the payload, as received. The appender vouches for it; it is written as it is and checked when the
    /// record is read from disk.
    pub payload_crc: u32,
}

impl Record {
    /// A record with the CRC of its payload.
    #[must_use]
    pub fn new(id: LogId, kind: RecordKind, count: u32, payload: Bytes) -> Record {
        let payload_crc = crc32c::crc32c(&payload);
        Record { id, kind, count, payload, payload_crc }
    }
}

/// What Raft must never forget: the term, and for whom this node voted in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardState {
    /// The current term. Never falls.
    pub term: Term,
    /// The candidate that got this node's vote in `term`.
    pub voted_for: Option<NodeId>,
    /// Whether a majority granted that vote (openraft's committed vote).
    pub committed: bool,
}
