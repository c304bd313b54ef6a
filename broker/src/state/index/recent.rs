//! The newest blocks of the index in memory: what consumers at the tail read, and what the current call of `apply` has
//! not written to the store yet.
//!
//! A cache only: what it holds never changes what is found, so a node that was restarted, whose cache is empty, finds
//! the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use raft_log::types::LogIndex;

use super::block::IndexBlock;
use crate::model::{QueueId, TopicId};
use crate::state::fault::Fault;
use crate::state::keys;
use crate::state::store::Store;
use crate::state::topics::Queue;

/// Messages in the blocks of the cache; 24 bytes each.
const MESSAGES_MAX: usize = 131_072;

type BlockKey = (TopicId, QueueId, u64);

/// The cache.
#[derive(Debug, Default)]
pub(crate) struct RecentBlocks {
    blocks: BTreeMap<BlockKey, Arc<IndexBlock>>,
    order: VecDeque<BlockKey>,
    messages: usize,
}

impl RecentBlocks {
    pub(crate) fn push(&mut self, topic: TopicId, queue: QueueId, block: IndexBlock) {
        let key = (topic, queue, block.base);
        self.messages += block.messages.len();
        self.order.push_back(key);
        let before = self.blocks.insert(key, Arc::new(block));
        assert!(before.is_none(), "an index block is made once");
    }

    /// Puts another block in the place of one with as many messages, which the cache may have let go of.
    pub(crate) fn replace(&mut self, topic: TopicId, queue: QueueId, block: IndexBlock) {
        match self.blocks.get_mut(&(topic, queue, block.base)) {
            Some(before) => {
                assert_eq!(before.messages.len(), block.messages.len(), "the same messages at other places");
                *before = Arc::new(block);
            }
            None => self.push(topic, queue, block),
        }
    }

    /// Drops the oldest blocks beyond the bound. Only when everything in the cache is in the store.
    pub(crate) fn trim(&mut self) {
        while self.messages > MESSAGES_MAX {
            let oldest = self.order.pop_front().expect("messages are in blocks");
            let block = self.blocks.remove(&oldest).expect("a block stands in both");
            self.messages -= block.messages.len();
        }
    }

    fn find(&self, topic: TopicId, queue: QueueId, offset: u64) -> Option<Arc<IndexBlock>> {
        let (key, block) = self.blocks.range(..=(topic, queue, offset)).next_back()?;
        ((key.0, key.1) == (topic, queue) && offset < block.end()).then(|| Arc::clone(block))
    }
}

/// The block that holds an offset, from the cache or the store; nothing if no block does.
fn read_block(
    recent: &RecentBlocks,
    store: &Store,
    queue: (TopicId, QueueId),
    offset: u64,
) -> Result<Option<Arc<IndexBlock>>, Fault> {
    if let Some(block) = recent.find(queue.0, queue.1, offset) {
        return Ok(Some(block));
    }
    let prefix = keys::queue_index(queue.0, queue.1);
    let key = keys::index(queue.0, queue.1, offset);
    let Some((key, value)) = store.at_or_before(prefix.as_ref(), key.as_ref())? else { return Ok(None) };
    let base = keys::base_of(&key).ok_or_else(|| Fault::damaged(&key, "the key of an index block"))?;
    let block = IndexBlock::decode(base, &value).map_err(|error| Fault::damaged(&key, error))?;
    Ok((offset < block.end()).then(|| Arc::new(block)))
}

/// The block of a message that is known to be there.
pub(crate) fn read_known_block(
    recent: &RecentBlocks,
    store: &Store,
    queue: (TopicId, QueueId),
    offset: u64,
) -> Result<Arc<IndexBlock>, Fault> {
    let damaged = || Fault::damaged(keys::index(queue.0, queue.1, offset).as_ref(), "no index of a message");
    read_block(recent, store, queue, offset)?.ok_or_else(damaged)
}

/// The first offset of a queue whose message lies in an entry at or above `start`; its end if there is none. A binary
/// search: entries ascend along a queue.
pub(crate) fn first_from(
    recent: &RecentBlocks,
    store: &Store,
    queue: (TopicId, QueueId),
    range: Queue,
    start: LogIndex,
) -> Result<u64, Fault> {
    let (mut low, mut high) = (range.first, range.next);
    while low < high {
        // The beginning first: most queues have nothing to trim.
        let at = if low == range.first && high == range.next { low } else { low + (high - low) / 2 };
        let block = read_known_block(recent, store, queue, at)?;
        if block.index < start {
            low = block.end();
        } else {
            high = block.base.max(low);
        }
    }
    Ok(low)
}

/// Where the blocks begin that begin in this range of a queue: the first `count` of them.
pub(crate) fn bases(
    recent: &RecentBlocks,
    store: &Store,
    (topic, queue): (TopicId, QueueId),
    range: Range<u64>,
    count: usize,
) -> Result<BTreeSet<u64>, Fault> {
    // Those of this call of `apply` are in the cache alone, older ones maybe in the store alone.
    let cached = recent.blocks.range((topic, queue, range.start)..(topic, queue, range.end));
    let mut bases: BTreeSet<u64> = cached.map(|((.., base), _)| *base).take(count).collect();
    let (prefix, from) = (keys::queue_index(topic, queue), keys::index(topic, queue, range.start));
    let mut stored = 0;
    store.scan_from::<Fault>(prefix.as_ref(), from.as_ref(), |key, _| {
        let base = keys::base_of(key).ok_or_else(|| Fault::damaged(key, "the key of an index block"))?;
        if base >= range.end || stored == count {
            return Ok(ControlFlow::Break(()));
        }
        stored += 1;
        bases.insert(base);
        Ok(ControlFlow::Continue(()))
    })?;
    while bases.len() > count {
        bases.pop_last();
    }
    Ok(bases)
}

/// Reads offsets one after the other, keeping the last block of the queue at hand.
#[derive(Debug)]
pub(crate) struct BlockReader<'a> {
    recent: &'a RecentBlocks,
    store: &'a Store,
    last: Option<((TopicId, QueueId), Arc<IndexBlock>)>,
}

impl<'a> BlockReader<'a> {
    pub(crate) fn new(recent: &'a RecentBlocks, store: &'a Store) -> BlockReader<'a> {
        BlockReader { recent, store, last: None }
    }

    /// The first offset of a queue at or above the readable start.
    pub(crate) fn first_from(&self, queue: (TopicId, QueueId), range: Queue, start: LogIndex) -> Result<u64, Fault> {
        first_from(self.recent, self.store, queue, range, start)
    }

    /// The block of a message that is known to be there.
    pub(crate) fn block(&mut self, queue: (TopicId, QueueId), offset: u64) -> Result<Arc<IndexBlock>, Fault> {
        if let Some((of, block)) = &self.last
            && *of == queue
            && block.message(offset).is_some()
        {
            return Ok(Arc::clone(block));
        }
        let block = read_known_block(self.recent, self.store, queue, offset)?;
        self.last = Some((queue, Arc::clone(&block)));
        Ok(block)
    }
}
