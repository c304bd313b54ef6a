//! The consumer: what is pushed to it, and what becomes of that.
//!
//! ```text
//!   stream ─► batches ─► buffer ─► receive() ─► application
//!     ▲                    │ taken: credit           │ ack, change, give back
//!     └──── requests ◄─────┴───────── settling ◄─────┘
//! ```
//! - `handle`: what an application holds.
//! - `received`: a delivered message.
//! - `buffer`: what has arrived and nobody has taken, and the credit that follows from it.
//! - `settling`: what is said of messages, until it is answered.
//! - `worker`: one topic's stream, and the next one when it ends.
//! - `dialogue`: what is said and heard on its streams, without the streams.
//! - `conversation`: one stream, from its opening to its end.

mod buffer;
mod conversation;
mod dialogue;
mod handle;
mod packed;
mod received;
mod settling;
mod worker;

pub use handle::Consumer;
pub use received::ReceivedMessage;
