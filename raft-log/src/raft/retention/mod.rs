//! What of the log is kept, and how the rest goes (hazards 23 to 25).
//!
//! ```text
//!   every node   a segment is full ──► a checkpoint of the state, kept
//!   leader       a bound is exceeded ──► StateMachine::trim_command, proposed     disk use differs from node to node, so
//!                (age: by the stamps in the entries and the clocks of all members)  only a command can decide
//!   every node   the state needs nothing below ──► purge to the newest checkpoint below that ──► segments released
//! ```
//! A purge goes exactly to a kept checkpoint: that one is what a follower behind the log gets, so nothing that is retained
//! is missing to it. While one is on its way or catches up, purging waits, up to the disk's high-water mark.
//!
//! What is trimmed is lost to whoever had not read it, so no single clock decides it and no disk that others fill: ages go
//! by replicated stamps, and only while the members' clocks agree ([`age_clock`]); whatever exceeds a bound goes in small
//! steps ([`policy::one_trim`]), by age no faster than a multiple of the pace at which the log grows old ([`age_pace`]).

mod age_clock;
mod age_pace;
mod ages;
mod asked;
mod catch_ups;
mod checkpoints;
mod looks;
mod lost_checkpoint;
mod policy;
mod task;

pub use age_clock::AgePause;
pub(crate) use age_pace::AGE_PACE_MAX;
pub(crate) use catch_ups::CatchUps;
pub(crate) use checkpoints::RollCheckpoints;
pub(crate) use lost_checkpoint::LostCheckpoint;
pub(crate) use task::{Retention, RetentionParts, TrimWays};
