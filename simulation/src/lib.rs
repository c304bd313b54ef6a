//! Deterministic simulation of the replicated log.
//!
//! The code under test is that of `raft-log`, built with `--cfg tercet_sim`: all nodes of a group run on one thread, and
//! a seed decides the cluster's settings, the load, the faults, and the order in which things happen. `make sim SEED=n`
//! runs one seed, `make sim-many N=n` many, `make sim-sensitivity` plants bugs and counts the seeds until each is found.
//!
//! ```text
//!   settings ◄── seed ──► faults ──► cluster: nodes, their disks, processes, network
//!                  │                    │ events: appended, persisted, voted, applied, ...
//!                  ▼                    ▼
//!               clients ──► history ──► checkers: one promise each
//! ```
//! Without that cfg this crate is empty.
#![cfg(tercet_sim)]

pub mod budgets;
pub mod checkers;
pub mod clients;
pub mod cluster;
pub mod faults;
pub mod history;
pub mod hosts;
pub mod machine;
mod majority;
pub mod many;
pub mod node;
pub mod operator;
pub mod panics;
pub mod recovery;
pub mod report;
pub mod run;
pub mod sensitivity;
pub mod settings;
pub mod store;
pub mod story;
pub mod view;
