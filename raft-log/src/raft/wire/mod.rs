//! What replicas say to each other, byte by byte.
//!
//! A connection begins with a [`handshake`] that names both ends and the purpose of the connection, and then carries
//! one of these conversations until it closes:
//! ```text
//!   append     AppendRequest frames ►►►  ◄◄◄ 18-byte answers, in order, many in flight   (log and heartbeats)
//!   call       one request frame ►  ◄ one answer frame                                    (votes, leadership transfer)
//!   checkpoint offer, chunks, install ►  ◄ one answer each                               (a follower behind the log)
//!   bootstrap  one request frame ►  ◄ one answer frame                                    (empty nodes only)
//!   repair     one request frame ►  ◄ one answer frame                                    (ranges of a damaged log)
//! ```
//! Integers are little-endian. A frame is a length (u32) and a body of at most [`FRAME_BYTES_MAX`]. Whatever a peer
//! sends is checked before it is believed; payloads by their CRC, the rest by a CRC of its own. Nothing here knows
//! sockets: see [`network`](super::network).

pub(crate) mod append;
pub(crate) mod bootstrap;
pub(crate) mod call;
pub(crate) mod challenge;
pub(crate) mod checkpoint;
pub(crate) mod handshake;
pub(crate) mod repair;
pub(crate) mod values;

/// Largest body of a frame (hazards 26): the largest entry, or 1 MiB of smaller ones, with their heads.
pub(crate) const FRAME_BYTES_MAX: usize = 9 << 20;
/// Bound on [`ReplicaOptions::entry_bytes_max`](crate::ReplicaOptions::entry_bytes_max): the largest payload that a frame
/// between peers is sure to carry.
pub const ENTRY_BYTES_LIMIT: usize = (8 << 20) + (64 << 10);

/// Bytes that are no message of this protocol: damage on the way, or a faulty peer. The connection is closed.
#[derive(Debug, thiserror::Error)]
#[error("bad peer message: {0}")]
pub(crate) struct WireError(pub(crate) String);

impl From<bytes::TryGetError> for WireError {
    fn from(cut: bytes::TryGetError) -> WireError {
        WireError(cut.to_string())
    }
}
