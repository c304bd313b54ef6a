//! Where a message lies.

use raft_log::types::LogIndex;

/// A Raft position: an entry and a range of its payload. The same on every replica, unlike a place in a file (hazards 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The entry that holds the message.
    pub index: LogIndex,
    /// Where in the entry's payload the message's record begins, in bytes.
    pub offset: u32,
    /// The length of the message's record, in bytes.
    pub length: u32,
}
