//! The server side of Tercet: one replica of a broker group, the nameserver, and a development cluster.

#![deny(clippy::print_stdout, clippy::print_stderr)] // whoever prints waits, and panics where it cannot (hazards 40)

pub mod admin;
pub mod api;
pub mod cli;
pub mod config;
pub mod consume;
pub mod dev;
pub mod forward;
pub mod grpc;
mod held_bytes;
pub mod http;
pub mod limits;
pub mod listen;
pub mod metrics;
pub mod model;
pub mod nameserver;
pub mod node;
pub mod peer_secret;
pub mod process;
pub mod publish;
#[cfg(test)]
mod simulation;
pub mod state;
pub mod telemetry_log;
