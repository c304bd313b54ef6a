//! Blocks that an entry's publishes are still adding to.
//!
//! An entry may hold many small publishes to the same queues. Their messages are gathered here and become one record
//! per queue at the end of the entry, or before a command that reads the index.

use std::collections::BTreeMap;

use raft_log::types::{LogIndex, UnixMillis};

use super::block::{IndexBlock, IndexedMessage};
use crate::model::{Marks, QueueId, TopicId};

/// Blocks under way, by queue.
#[derive(Debug, Default)]
pub(crate) struct OpenBlocks {
    blocks: BTreeMap<(TopicId, QueueId), IndexBlock>,
}

impl OpenBlocks {
    /// Adds a message at `offset`, the one behind the queue's last.
    pub(crate) fn push(
        &mut self,
        queue: (TopicId, QueueId),
        offset: u64,
        place: (LogIndex, UnixMillis),
        (message, marks): (IndexedMessage, Marks),
    ) {
        let (index, stamp) = place;
        let block = self.blocks.entry(queue).or_insert_with(|| IndexBlock {
            base: offset,
            index,
            stamp,
            messages: Vec::new(),
            marks: Vec::new(),
            origin: None,
        });
        assert_eq!(block.end(), offset, "offsets of a queue are dense");
        block.push(message, marks);
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// All blocks, in the order of their queues; none are left.
    pub(crate) fn take(&mut self) -> BTreeMap<(TopicId, QueueId), IndexBlock> {
        std::mem::take(&mut self.blocks)
    }
}
