//! Where work runs: threads, blocking calls, runtimes. The only door to them, as [`env`](crate::env) is to files and time.
//!
//! | here | on a machine | under simulation (`--cfg tercet_sim`) |
//! |---|---|---|
//! | [`blocking()`] | the pool of blocking threads | a fiber of the simulated process |
//! | [`thread`] | a thread | a fiber |
//! | [`worker`] | a thread that drives one future, which may block | a fiber |
//! | [`runtime`] | a thread with a runtime of its own | tasks of the simulated process |
//! | [`sync`] | the standard library's locks | locks between fibers |
//! | [`Runtime`] | tokio | tokio, with scheduling and randomness from the seed |
//!
//! Under simulation all nodes of a group run on one thread, and the seed decides the order of everything.

#[cfg(tercet_sim)]
mod simulated;
#[cfg(not(tercet_sim))]
mod threads;

#[cfg(tercet_sim)]
pub(crate) use simulated::{Runtime, Thread, at_disk, blocking, runtime, sync, thread, worker};
#[cfg(not(tercet_sim))]
pub(crate) use threads::{Runtime, Thread, blocking, runtime, thread, worker};

/// Locks and conditions of code that runs on [`thread`]s and may hold them, or wait, for as long as a disk takes.
#[cfg(not(tercet_sim))]
pub(crate) mod sync {
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
}
