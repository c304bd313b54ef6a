//! Proof by fault: real Tercet processes, killed and restarted under load, and what they answered checked afterwards.
//!
//! ```text
//!  workload ── drives ──► cluster (tercetd processes) ◄── kills, stops, restarts ── the test
//!     │ writes                       │ is asked for its log and digests
//!     ▼                              ▼
//!  history ─────────────────────► checkers ──► violations (none, or the promise is broken)
//! ```
//! - [`binaries`]: where the programs under test are.
//! - [`cluster`]: one development cluster as processes of its own, and everything that can be done to them.
//! - [`hosts`]: the same with a host, and a cable to pull, for each node.
//! - [`http`]: readiness and metrics of a node.
//! - [`history`]: what clients saw, as JSON lines.
//! - [`checkers`]: one promise, one small file, each tested against histories that break it.
//! - [`workload`]: clients that write a history while faults happen.
//! - [`gap`]: how long nothing was acknowledged.
//! - [`text`]: a real text, published and consumed through the command line.
//! - [`command`]: that command line.
//! - [`setup`]: topics and groups, made before a proof begins.
//! - [`measure`]: rates and latencies.
//! - [`conformance`]: the official clients.
//!
//! What it is not: a simulation (that lives beside the code that it simulates), or a benchmark of other systems.

pub mod admin;
pub mod binaries;
pub mod checkers;
pub mod cluster;
pub mod command;
pub mod conformance;
pub mod failure;
pub mod gap;
pub mod history;
pub mod hosts;
pub mod http;
pub mod measure;
pub mod setup;
pub mod text;
pub mod wait;
pub mod workload;
