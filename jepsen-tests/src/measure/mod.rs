//! Rates and latencies of a group on this machine.
//!
//! - [`figures`]: what one run found.
//! - [`load`]: one run, by `tercet bench`.
//! - [`yardstick`]: one run of a program that shows what the machine can give.
//! - [`idle`]: what nodes use while nothing happens.
//! - [`overload`]: what acknowledgements take while more is published than fits.
//! - [`report`]: all of it as a table for people and as JSON.

pub mod figures;
pub mod idle;
pub mod load;
pub mod overload;
pub mod report;
pub mod yardstick;
