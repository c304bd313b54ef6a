//! Repair of damaged ranges from peers, along Raft's log matching (hazards 8).
//!
//! ```text
//!   survey ─► Lost: a hole, its entries, and an anchor: the (index, term) of an entry of ours at or behind the last lost
//!               │
//!   a peer that holds the anchor holds, by log matching, exactly our entries below it ─► their records
//!               │
//!   fill ─► the same bytes' worth of entries and marks under our own header ─► write, sync, read back and check
//! ```
//! Only then is the damage forgotten. A crash in between leaves a hole, or a smaller one: the repair begins again. Nothing
//! outside the hole is written. Without an anchor nothing is taken from anybody: the node must join under a fresh id
//! (hazards 2).
//!
//! [`Folder`] repairs a log that did not open; the I/O thread of an open log does it in place
//! ([`Log::repair`](crate::storage::Log)). Who asks the peers is above, in `replica::repair`.

mod fill;
mod folder;
mod lost;
mod online;
mod refill;

pub(crate) use fill::fill;
pub(crate) use folder::Folder;
pub(crate) use lost::{Lost, RangeRequest, write};
pub(crate) use online::OpenLost;
pub(crate) use refill::Refill;
