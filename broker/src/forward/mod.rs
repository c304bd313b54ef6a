//! Every node answers every RPC: what only the leader can do goes to the leader.
//!
//! ```text
//!   client ─► this node ─ leads? ─► done here
//!                       └ no ────► the leader, over a kept connection, marked `x-tercet-hop: 1`, at most one hop
//! ```
//! Invariant (hazards 15): a publish is sent to another node once at most. Only when the connection could not even be
//! made, so that not a byte left this node, is it tried again; a connection that broke later means: outcome unknown.

mod held_bytes;
mod leadership;
mod peers;
mod relay;

pub use leadership::{Leadership, Place};
pub use peers::{Line, Peers, never_sent};
pub use relay::{Errand, HOP_HEADER, Relay, RelayError, Relayed, Resend};
