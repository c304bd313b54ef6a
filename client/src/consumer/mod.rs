//! The simple consumer: receive, acknowledge, change invisible durations.
//!
//! - `handle`: what an application holds.
//! - `received`: a delivered message, checked.
//! - `acker`: acknowledgements that come meanwhile travel together.

mod acker;
mod handle;
mod received;

pub use handle::SimpleConsumer;
pub use received::ReceivedMessage;
