//! Discovery: brokers say where they are, clients ask who owns a topic.
//!
//! ```text
//!  broker: Registrar ──Register──► NameService ─► Routes ◄─ QueryRoute, ListBrokers
//!    (one task per nameserver)      (gRPC, clock)  (pure: `now` is an argument)
//! ```
//!
//! A nameserver knows only what brokers told it lately: nothing is on disk, and nameservers never talk to each other.
//! It decides nothing about leadership; it repeats what the nodes say of themselves.

mod process;
mod registrar;
mod routes;
mod service;
mod wire;

pub use process::run;
pub use registrar::{Announcement, Registrar};
pub use routes::{BrokerKey, GroupRoute, KnownBroker, RegisterError, Registration, Role, Routes, Topic};
pub use service::NameService;

#[cfg(test)]
mod tests;
