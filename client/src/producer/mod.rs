//! The producer: concurrent sends of a topic travel together, and a retry never stores anything twice.
//!
//! ```text
//!  send(message) ─► buffer bound (bytes) ─► lane of the topic ─► batches, encoded ─► requests, few in flight
//!                                            one per NORMAL topic: up to 4 in flight       │
//!                                            8 per FIFO topic, by message group: 1 each    ▼
//!  Outcome ◄──────────────────────────────────────────────────────────── attempts until the deadline
//! ```
//! - `encode`: a message becomes bytes, once.
//! - `batch`: what travels in one request.
//! - `lane`: which batch goes when, under which sequence numbers. Pure.
//! - `verdict`: what an answer means. Pure.
//! - `attempts`: whether to try again. Pure.
//! - `driver`: the loop that moves a lane's batches to the broker.

mod attempts;
mod batch;
mod driver;
mod encode;
mod handle;
mod lane;
mod room;
mod verdict;

pub use handle::{Pending, Producer, TrySendError};
