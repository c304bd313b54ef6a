//! A replicated, segmented commit log on Raft.

pub mod env;
pub mod storage;
pub mod types;
