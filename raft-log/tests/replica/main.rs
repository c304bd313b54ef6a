//! Groups of real replicas: real sockets on loopback, real files, and disks of their own where a test needs them.
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod async_loss;
mod bad_sector;
mod bootstrap;
mod clocks;
mod election;
mod full_disk;
mod group;
mod identity;
mod members;
mod older_copy;
mod outcomes;
mod repair;
mod retention;
mod stalled_disk;
mod state;
mod strangers;
mod support;
