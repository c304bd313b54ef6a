//! Rates and latencies of a group on this machine.
//!
//! - [`figures`]: what one run found.
//! - [`load`]: one run, by `tercet bench`.
//! - [`yardstick`]: one run of a program that shows what the machine can give.
//! - [`consume`]: runs of `tercet bench consume`.
//! - [`open_loop`]: messages that are published when they are due.
//! - [`idle`]: what nodes use while nothing happens.
//! - [`overload`]: what acknowledgements take while more is published than fits.
//! - [`waiters`]: receivers that wait, as official clients do.
//! - [`unary`]: what a call costs the leader, as official clients make them.
//! - [`report`]: all of it as a table for people and as JSON.

pub mod consume;
pub mod figures;
pub mod idle;
pub mod load;
pub mod open_loop;
pub mod overload;
pub mod report;
pub mod unary;
pub mod waiters;
pub mod yardstick;
