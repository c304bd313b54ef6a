//! Where work runs: threads, blocking calls, runtimes. The only door to them, as [`env`](crate::env) is to files and time.
//!
//! | here | on a machine | under simulation (`--cfg tercet_sim`) |
//! |---|---|---|
//! | [`blocking()`] | the pool of blocking threads | at once, on the spot |
//! | [`worker`] | a thread that drives one future, which may block | a task of the simulated process |
//! | [`runtime`] | a thread with a runtime of its own | tasks of the simulated process |
//! | `thread` | a thread | not there: its owner has another form |
//! | [`Runtime`] | tokio | tokio, with scheduling and randomness from the seed |
//!
//! Under simulation all nodes of a group run on one thread, and the seed decides the order of everything.

#[cfg(tercet_sim)]
mod simulated;
#[cfg(not(tercet_sim))]
mod threads;

#[cfg(tercet_sim)]
pub(crate) use simulated::{Runtime, Thread, blocking, runtime, worker};
#[cfg(not(tercet_sim))]
pub(crate) use threads::{Runtime, Thread, blocking, runtime, thread, worker};
