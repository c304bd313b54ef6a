//! A whole group of replicas on one thread, where a seed decides what happens when. Only with `--cfg tercet_sim`.
//!
//! ```text
//!   tokio's current-thread runtime, clock paused: time jumps to the next timer when nothing is left to do
//!     │
//!     ├─ Process 10.0.0.1 ── tasks of replica 1 ─┐   each poll may be put off by the seed, not done while the process
//!     ├─ Process 10.0.0.2 ── tasks of replica 2 ─┤   is paused, and never again once it is killed
//!     ├─ Process 10.0.0.3 ── tasks of replica 3 ─┘
//!     │        │ connect, accept, read, write                  │ disk: env::sim::SimDisk
//!     ├─ Network: streams with delays, cut links, resets       │ time: SimClock
//!     └─ the test: faults, clients, checkers
//! ```
//! The code of a replica is the one that runs on a machine; what differs are the seams: `exec` (threads become fibers),
//! `raft::network::net` (sockets), and [`Env`](crate::env::Env). Nothing here is compiled into other builds.
//!
//! It is our own and not an existing simulator, because those move all hosts' clocks in small ticks (ten times slower
//! for a group that mostly waits), cannot pause a process, and run the tasks of a host in one order only.

mod clock;
pub mod net;
pub mod observe;
mod process;
mod runtime;
mod trace;

pub use clock::SimClock;
pub use process::Process;
pub use runtime::{SimRuntime, block_on};
pub use trace::{note, trace_hash};

/// The CRC that the log keeps of a payload.
#[must_use]
pub fn payload_crc(payload: &[u8]) -> u32 {
    crc32c::crc32c(payload)
}

pub(crate) use process::Call;
