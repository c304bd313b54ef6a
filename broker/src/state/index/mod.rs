//! The consume index: where the messages of a queue lie in the log.
//!
//! One record per (entry, queue), so that many messages cost one put and a million queues cost no files. Found by
//! seeking the last block at or before an offset.

mod block;
mod open_blocks;
mod recent;

pub(crate) use block::{IndexBlock, IndexedMessage};
pub(crate) use open_blocks::OpenBlocks;
pub(crate) use recent::{BlockReader, RecentBlocks, bases, first_from, read_known_block};
