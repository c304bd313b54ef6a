//! Ties openraft to the log, the state machine and the network.
//!
//! ```text
//!                propose                          peers
//!                   │                               │ frames
//!                   ▼                               ▼
//!   ┌─────────── openraft ◄──────────── network (links, server) ◄─► wire (bytes)
//!   │ append, vote      │ apply
//!   ▼                   ▼
//!   log_store        state_adapter ──► state_worker (its own thread) ──► StateMachine
//!   ▼
//!   storage::Log
//! ```
//! All of it but the state machine runs on one thread of its own per replica, so that whatever else the process does
//! cannot delay heartbeats. openraft's generic types are spelt in [`type_config`] and nowhere else.

pub(crate) mod bootstrap;
mod catch_up_pace;
pub(crate) mod clocks;
mod completion;
pub(crate) mod core;
pub(crate) mod early_campaign;
pub(crate) mod gate_reason;
pub(crate) mod log_store;
pub(crate) mod network;
#[cfg(test)]
mod openraft_suite;
pub(crate) mod pace;
pub(crate) mod recover;
pub(crate) mod responder;
pub(crate) mod retention;
pub(crate) mod rooms;
pub(crate) mod settings;
pub(crate) mod sightings;
pub(crate) mod state_adapter;
pub(crate) mod state_worker;
pub(crate) mod type_config;
pub(crate) mod vote_gate;
pub(crate) mod votes;
pub(crate) mod wire;
