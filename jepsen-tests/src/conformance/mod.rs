//! The official clients, unmodified, against a group whose leader is killed.
//!
//! - [`languages`]: the programs in `conformance/`, their toolchains, how they are built and called.
//! - [`program`]: one running program, driven line by line.
//! - [`verdict`]: what it sent against what it received.

pub mod languages;
pub mod program;
pub mod verdict;
