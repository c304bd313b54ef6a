//! The server side of Tercet: one replica of a broker group, the nameserver, and a development cluster.

pub mod config;
pub mod http;
pub mod listen;
pub mod metrics;
pub mod telemetry_log;
