//! The consumer: what is pushed to it, and what becomes of that.
//!
//! ```text
//!   stream ─► batches ─► buffer ─► receive() ─► application
//!     ▲                    │ taken: credit           │ ack, change, give back
//!     └──── requests ◄─────┴───────── settling ◄─────┘
//! ```
//! - `handle`: what an application holds.
//! - `received`: a delivered message.
//! - `for_each`: handlers, and `in_hand`: the messages that they have.
//! - `buffer`: what has arrived and nobody has taken, and the credit that follows from it.
//! - `settling`: what is said of messages, until it is answered.
//! - `worker`: who works for a topic; `streams`: its stream, and the next one when it ends.
//! - `dialogue`: what is said and heard on its streams, without the streams.
//! - `conversation`: one stream, from its opening to its end.

mod buffer;
mod conversation;
mod dialogue;
mod for_each;
mod handle;
mod in_hand;
mod packed;
mod received;
mod settling;
mod streams;
mod worker;

pub use for_each::{ForEach, Handled};
pub use handle::Consumer;
pub use received::ReceivedMessage;
