//! Every node answers every RPC: what only the leader can do goes to the leader.
//!
//! ```text
//!   client ─► this node ─ leads? ─► done here
//!                       └ no ────► the leader, over a kept connection, marked `x-tercet-hop: 1`, at most one hop
//! ```
//! Invariant (hazards 15): a publish is sent again only when it is sure that the first time did nothing: not a byte left
//! this node, or the other one answered that it does not lead. A connection that broke later means: outcome unknown.

mod leadership;
mod line;
mod peers;
mod pool;
mod relay;

pub use leadership::{Leadership, Place};
pub use line::{Line, RECEIVE_WINDOW};
pub use peers::{Peers, never_sent};
pub use pool::Seat;
pub use relay::{Errand, HOP_HEADER, Relay, RelayError, Relayed, Resend};
