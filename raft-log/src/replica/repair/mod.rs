//! Repair of this node's log from its peers (hazards 8): who is asked, when, and what the node may not do meanwhile.
//!
//! ```text
//!   at open    recovery finds damage below the durable mark ─► ask the peers, serve them, write, open again
//!              before openraft runs: no vote, no pre-vote, no append
//!              recovery finds that the device cannot read the end of the log ─► cut it, as if it had been torn, and
//!              keep out of elections until the node holds what a leader has committed (see `doubt`)
//!   starting   openraft meets damage that recovery did not read ─► ask the peers, serve them, write in place
//!              it waits for that; what cannot be had in time stops the node with the same advice
//!   running    a reader or the scrub meets damage ─► ask the peers, write in place
//!              the vote gate is closed with `Damaged`; a leader whose first attempt fails hands over
//! ```
//! What is fetched and how it is written is [`storage::repair`](crate::storage::repair)'s.

pub(crate) mod at_open;
pub(crate) mod members;
pub(crate) mod online;
pub(crate) mod scrub;

#[cfg(test)]
mod lost_blocks;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod single_fault;
#[cfg(test)]
mod tests;
