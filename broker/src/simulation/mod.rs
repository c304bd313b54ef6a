//! The broker's state machine as a group runs it, under faults, from a seed: every replica is the real one on a RocksDB of its own.
//!
//! ```text
//!   clients ─► orders ─► leader ─► log: committed, lost or unheard of ─► replicas apply, flush, crash, restore
//!      ▲                   │ ticks, renewals, relocations, sweeps,             │
//!      └── answers ────────┘ erasures, trims: the broker's own decisions       ▼
//!                                              ledger and checkers ◄── outcomes, digests
//! ```
//! Raft is a list of entries here: who wins an election, what is lost and who lags, the seed decides within what Raft allows. Raft
//! itself, its disks and its network are the subject of the crate `simulation`, with a state machine that is a toy; this is the
//! other half. One thread, no clock: `make broker-sim SEED=n` runs a seed again exactly.
//!
//! What it is not: a test of the RPCs, the batcher or the parking of receives.

mod checkers;
mod clients;
mod deliveries;
mod dice;
mod ending;
mod entering;
mod faults;
mod group;
mod leader;
mod ledger;
mod log;
mod node;
mod order;
mod progress;
mod report;
mod run;
mod seed;
mod settings;
mod tests;
mod walk;
