//! The log on disk, seen from outside: over the simulated disk where a power loss, a fault or damage is needed, over the
//! real one where memory maps, threads and time are.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod basics;
mod damage;
mod faults;
mod fixtures;
mod flipped;
mod full_disk;
mod hard_state;
mod inspect;
mod model;
mod page_cache;
#[cfg(tercet_sim)]
mod planted;
mod power_loss;
mod reads;
mod real_disk;
mod recycling;
mod retention;
mod sealed_files;
mod sidecars;
mod support;
mod unreadable;
mod waiting;
