//! Consumption, leader side: long polls, receipt handles, delivered messages, auto-renewal.
//!
//! ```text
//!  receive ─► park until something is available ─► Receive command ─► picks ─► bodies from the log ─► client
//!  ack, change ─► handle opened and checked ─► command ─► outcome
//! ```
//! What it is not: the record of who holds what. That is replicated state; a pick exists because `apply` made it.

mod handle;

pub use handle::{Delivery, HandleKey};
