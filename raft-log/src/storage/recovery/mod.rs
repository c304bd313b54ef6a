//! From what is on disk to a log that can go on, or to an error that says why it cannot.
//!
//! ```text
//!   manifest, hard state ─► headers of all segments ─► saved indexes (sidecars), as far as they reach
//!                                                        │
//!                                        behind them ─► scan: header CRC, salt, own offset, index, term, payload CRC
//!                                                        │
//!                               first bad record ◄───────┤
//!             at or below the highest durable mark: corrupt, typed error, nothing changed
//!             above it: a torn write that nobody was told of: cut, the rest of the file zeroed
//! ```
//! All reading and judging comes first; the disk is changed only when the log will open (hazards 3).

mod judge;
mod recovered;
mod residue;
mod rewrite;
mod scan;
mod segments;
mod start;

pub(crate) use recovered::Recovered;
pub(crate) use scan::check;
pub(crate) use segments::open_segments;
pub(crate) use start::recover;
