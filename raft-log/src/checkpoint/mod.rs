//! Checkpoints of the state machine, as folders on disk and as chunks on the way to a peer.
//!
//! ```text
//!   checkpoints/00000000000000004711/state/*      what StateMachine::checkpoint wrote
//!                                   /CHECKPOINT   the manifest, written last: id, membership, files, sizes, CRCs
//! ```
//! A folder without a manifest is half made, or half removed, and goes at the next opening. A manifest is never changed.
//! What comes from a peer comes into `<index>.incoming`, beside whatever this node makes at the same index of its own
//! state, and gets its name when it is whole.
//!
//! The log is purged exactly to the index of a kept checkpoint. That oldest one is what a follower behind the log gets:
//! with the entries after it, it ends with every retained entry (hazards 25). So thinning never takes the oldest one,
//! nor the newest, from which a lost state is restored (hazards 1).
//!
//! Nothing here knows openraft or sockets.

mod complete;
mod error;
mod folder;
mod incoming;
mod manifest;
mod scrub;
mod sealing;
mod summing;
mod survey;

pub(crate) use complete::Checkpoint;
pub(crate) use error::CheckpointError;
pub(crate) use folder::Checkpoints;
pub(crate) use incoming::Incoming;
pub(crate) use manifest::Manifest;
pub(crate) use scrub::CheckpointPlace;
pub(crate) use sealing::Sealing;
pub(crate) use survey::survey;
