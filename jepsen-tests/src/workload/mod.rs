//! Clients that write a history while faults happen.
//!
//! - [`beat`]: one message each interval, whatever became of those before.
//! - [`publish`]: publishers that go on until they are told to stop.
//! - [`drain`]: a consumer group that reads a topic from its first message to its last.

pub mod beat;
pub mod drain;
pub mod publish;
