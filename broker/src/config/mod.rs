//! Settings: where they come from, what they must satisfy, and the typed values that the rest of the program uses.
//!
//! ```text
//!   table (default, unit, minimum) ◄─ file ◄─ environment ◄─ flags      each layer over the one before
//!        │                                        │
//!        ▼                                        ▼
//!   commented sample                     Config (typed, cross-checked)
//! ```
//!
//! One table ([`table::SETTINGS`]) says everything about a setting, so that the sample, the checks and the documentation
//! cannot disagree. A key that is not in it is an error that names the line. Nothing here opens a file other than the
//! configuration itself, and nothing that the replicated state machine reads comes from here: settings only seed it.

mod address;
mod checks;
mod error;
mod file;
mod layers;
mod reading;
mod sample;
mod setting;
mod size;
pub mod table;
mod typed;

pub use address::HostPort;
pub use error::{ConfigError, Origin, Problem};
pub use layers::{Layers, load};
pub use sample::{render_effective, render_given, render_sample};
pub use setting::{Kind, Setting, Value};
pub use typed::{
    Advertise, Config, Consume, Discovery, Durability, Election, Limits, Listen, LogFormat, Logging, NameServer, Node,
    Retention, Shutdown, Storage, Tls, Voter,
};
