//! The writing side: one thread per log, and the FIFO queue that feeds it.
//!
//! ```text
//!   queue ──► group of appends ──► Batch ──► pwritev ──► fdatasync ──► publish ──► callbacks
//!        └──► hard state, truncation, purge, release: one at a time, between groups
//! ```
//! [`Engine`] does the work and knows no threads, so that tests can step it; [`spawn`] gives it one.

mod batch;
mod desk;
mod engine;
mod frontier;
mod indexer;
mod load;
mod overtaking;
mod prepared;
mod preparer;
mod preparing;
mod progress;
mod queue;
mod refill;
mod release;
mod removal;
mod roll;
mod syncer;
mod thread;
mod truncate;
mod unsynced;
mod waiting;

pub(crate) use engine::{Active, Engine, EngineStart};
pub(crate) use indexer::Indexer;
pub(crate) use prepared::Prepared;
pub(crate) use preparer::Preparer;
pub(crate) use queue::{AppendJob, Job, Queue};
pub(crate) use syncer::Syncer;
pub(crate) use thread::{IoThread, spawn};
pub(crate) use truncate::erase;
pub(crate) use waiting::{RETRY_AFTER, lacks_something};
