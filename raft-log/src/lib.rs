//! A replicated, segmented commit log on Raft.

pub mod types;
