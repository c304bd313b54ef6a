//! `tercetd` as operators, init systems and shells treat it: outputs that take nothing, signals, few descriptors.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its own functions too")]

#[path = "processes/descriptors.rs"]
mod descriptors;
#[path = "processes/output.rs"]
mod output;
#[path = "processes/signals.rs"]
mod signals;
#[path = "processes/tercetd.rs"]
mod tercetd;
