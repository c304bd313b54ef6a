//! A block of the index: the messages that one entry added to one queue.
//!
//! ```text
//! key    topic, queue, base offset
//! value  flags u8 (1 groups, 2 origin, 4 tags)
//!        count, log index, stamp          varints
//!        per message: gap, length         varints; gap = bytes between the end of the one before and this one
//!        per message, if groups: key u64
//!        if tags: how many, varint, then the key of each, u64, ascending;
//!                 per message: which of them, varint from 1, 0 is none
//!        if origin: topic, queue, offset  varints
//! ```
//! About four bytes a message. The origin is of a dead-lettered message, which stands alone in its block; its log
//! index is that of the entry which published it, below the entry that made the block.

use bytes::BufMut;
use raft_log::types::{LogIndex, UnixMillis};

use crate::model::{MessageGroupKey, Position, QueueId, QueueOffset, TagKey, TopicId};
use crate::state::codec::{DecodeError, Reader, put_varint};
use crate::state::outcome::Origin;

const GROUPS: u8 = 1;
const ORIGIN: u8 = 2;
const TAGS: u8 = 4;

/// One message of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexedMessage {
    pub(crate) group: MessageGroupKey,
    pub(crate) tag: TagKey,
    /// Where in the entry it begins.
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// Consecutive messages of a queue that lie in one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexBlock {
    pub(crate) base: u64,
    pub(crate) index: LogIndex,
    /// When the messages became visible in this queue.
    pub(crate) stamp: UnixMillis,
    pub(crate) messages: Vec<IndexedMessage>,
    pub(crate) origin: Option<Origin>,
}

impl IndexBlock {
    pub(crate) fn end(&self) -> u64 {
        self.base + self.messages.len() as u64
    }

    pub(crate) fn message(&self, offset: u64) -> Option<&IndexedMessage> {
        let at = offset.checked_sub(self.base)?;
        self.messages.get(usize::try_from(at).ok()?)
    }

    pub(crate) fn position(&self, message: &IndexedMessage) -> Position {
        Position { index: self.index, offset: message.offset, length: message.length }
    }

    /// Writes the value of the block's record over `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        assert!(!self.messages.is_empty(), "an index block holds messages");
        assert!(self.origin.is_none() || self.messages.len() == 1, "a dead-lettered message stands alone");
        out.clear();
        let groups = self.messages.iter().any(|message| !message.group.is_none());
        let tags = self.messages.iter().any(|message| !message.tag.is_none());
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.put_u8(flag(groups, GROUPS) | flag(self.origin.is_some(), ORIGIN) | flag(tags, TAGS));
        put_varint(out, self.messages.len() as u64);
        put_varint(out, self.index.0);
        put_varint(out, self.stamp.0);
        let mut end = 0;
        for message in &self.messages {
            let gap = message.offset.checked_sub(end).expect("messages of an entry are indexed in their order");
            end = message.offset + message.length;
            put_varint(out, u64::from(gap));
            put_varint(out, u64::from(message.length));
        }
        if groups {
            self.messages.iter().for_each(|message| out.put_u64_le(message.group.0));
        }
        if tags {
            self.put_tags(out);
        }
        if let Some(origin) = self.origin {
            put_varint(out, origin.topic.0);
            put_varint(out, u64::from(origin.queue.0));
            put_varint(out, origin.offset.0);
        }
    }

    /// Most messages of a block have one of a few tags, so each of these stands once.
    fn put_tags(&self, out: &mut Vec<u8>) {
        let mut keys: Vec<TagKey> = self.messages.iter().map(|message| message.tag).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| !key.is_none());
        put_varint(out, keys.len() as u64);
        keys.iter().for_each(|key| out.put_u64_le(key.0));
        for message in &self.messages {
            let which = if message.tag.is_none() { 0 } else { 1 + keys.partition_point(|key| *key < message.tag) };
            put_varint(out, which as u64);
        }
    }

    pub(crate) fn decode(base: u64, value: &[u8]) -> Result<IndexBlock, DecodeError> {
        let mut reader = Reader::new("index block", value);
        let flags = reader.u8()?;
        if flags & !(GROUPS | ORIGIN | TAGS) != 0 {
            return Err(DecodeError::Unknown { what: "a flag of an index block", found: u64::from(flags) });
        }
        let count = reader.varint()?;
        let (index, stamp) = (LogIndex(reader.varint()?), UnixMillis(reader.varint()?));
        if count == 0 || count > reader.left() as u64 {
            return Err(reader.invalid());
        }
        let mut messages = Vec::with_capacity(count as usize);
        let mut end = 0u32;
        for _ in 0..count {
            let (gap, length) = (reader.varint32()?, reader.varint32()?);
            let offset = end.checked_add(gap).ok_or(reader.invalid())?;
            end = offset.checked_add(length).ok_or(reader.invalid())?;
            messages.push(IndexedMessage { group: MessageGroupKey::NONE, tag: TagKey::NONE, offset, length });
        }
        if flags & GROUPS != 0 {
            for message in &mut messages {
                message.group = MessageGroupKey(reader.u64()?);
            }
        }
        if flags & TAGS != 0 {
            read_tags(&mut reader, &mut messages)?;
        }
        let origin = if flags & ORIGIN == 0 {
            None
        } else {
            let (topic, queue) = (TopicId(reader.varint()?), QueueId(reader.varint32()?));
            Some(Origin { topic, queue, offset: QueueOffset(reader.varint()?) })
        };
        reader.finish()?;
        Ok(IndexBlock { base, index, stamp, messages, origin })
    }
}

fn read_tags(reader: &mut Reader<'_>, messages: &mut [IndexedMessage]) -> Result<(), DecodeError> {
    let count = reader.varint()?;
    if count == 0 || count > messages.len() as u64 {
        return Err(reader.invalid());
    }
    let keys = (0..count).map(|_| reader.u64().map(TagKey)).collect::<Result<Vec<_>, _>>()?;
    for message in messages {
        if let Some(at) = (reader.varint32()? as usize).checked_sub(1) {
            message.tag = *keys.get(at).ok_or(reader.invalid())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(groups: bool, tags: bool, origin: Option<Origin>) -> IndexBlock {
        let message = |i: u32| IndexedMessage {
            group: if groups && i == 1 { MessageGroupKey(u64::MAX) } else { MessageGroupKey::NONE },
            tag: if tags { TagKey([u64::MAX, 0, 7][i as usize]) } else { TagKey::NONE },
            offset: 100 + i * 1000,
            length: 900,
        };
        let messages = if origin.is_some() { vec![message(0)] } else { (0..3).map(message).collect() };
        IndexBlock { base: 7, index: LogIndex(300), stamp: UnixMillis(1_700_000_000_000), messages, origin }
    }

    #[test]
    fn blocks_go_both_ways() {
        let origin = Origin { topic: TopicId(1 << 40), queue: QueueId(2), offset: QueueOffset(1 << 40) };
        for block in [
            block(false, false, None),
            block(true, false, None),
            block(true, true, None),
            block(false, false, Some(origin)),
            block(true, true, Some(origin)),
        ] {
            let mut value = Vec::new();
            block.encode(&mut value);
            assert_eq!(IndexBlock::decode(7, &value), Ok(block));
            for cut in 0..value.len() {
                assert!(IndexBlock::decode(7, &value[..cut]).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_message_costs_a_few_bytes() {
        let mut block = block(false, false, None);
        let message = |i: u32| IndexedMessage {
            group: MessageGroupKey::NONE,
            tag: TagKey(u64::from(i % 3)),
            offset: 64 + i * 1100,
            length: 1100,
        };
        block.messages = (0..64).map(message).collect();
        let mut value = Vec::new();
        block.encode(&mut value);
        assert!(value.len() < 64 * 5, "{} bytes", value.len());
    }
}
