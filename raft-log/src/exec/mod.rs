//! Where work runs: threads, blocking calls, runtimes. The only door to them, as [`env`](crate::env) is to files and time.
//!
//! Under simulation all nodes of a group run on one thread and a seed decides the order of everything, so nothing else in
//! this crate starts threads or calls tokio's spawning functions; tasks are spawned with `TypeConfig::spawn`.

mod threads;

pub(crate) use threads::{Runtime, Thread, blocking, runtime, thread, worker};
