//! The load: producers, consumers and an operator. Each has one command under way at most, and learns by the answer of the leader
//! that took it, or learns nothing.

mod consumer;
mod operator;
mod producer;

pub(super) use consumer::{Consumer, Habit};
pub(super) use operator::{May, Operator};
pub(super) use producer::{Numbers, Producer};

/// A topic without order, and one with.
pub(super) const PLAIN: &str = "plain";
pub(super) const LINE: &str = "line";
/// Queues of each.
pub(super) const QUEUES: u32 = 2;

/// Groups that are made by an operator: without order, with, and one that takes and never acknowledges.
pub(super) const WORKERS: &str = "workers";
pub(super) const KEEPERS: &str = "keepers";
pub(super) const ABSENT: &str = "absent";
/// One that its first receive makes, and one that reads dead letters.
pub(super) const VISITORS: &str = "visitors";
pub(super) const REVIEWERS: &str = "reviewers";
