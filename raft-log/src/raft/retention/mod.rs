//! What of the log is kept, and how the rest goes (hazards 23 to 25).
//!
//! ```text
//!   every node   a segment is full ──► a checkpoint of the state, kept
//!   leader       a bound is exceeded ──► StateMachine::trim_command, proposed     disk use differs from node to node, so
//!                                                                                  only a command can decide
//!   every node   the state needs nothing below ──► purge to the newest checkpoint below that ──► segments released
//! ```
//! A purge goes exactly to a kept checkpoint: that one is what a follower behind the log gets, so nothing that is retained
//! is missing to it. While one is on its way or catches up, purging waits, up to the disk's high-water mark.

mod asked;
mod catch_ups;
mod policy;
mod task;

pub(crate) use catch_ups::CatchUps;
pub(crate) use task::{Progress, Retention};
