//! A block of the index: the messages that one entry added to one queue.
//!
//! ```text
//! key    topic, queue, base offset
//! value  flags u8 (1 groups, 2 origin)
//!        count, log index, stamp          varints
//!        per message: gap, length, tag    varints; gap = bytes between the end of the one before and this one
//!        per message, if groups: key u64
//!        if origin: topic, queue, offset  varints
//! ```
//! About five bytes a message. The origin is of a dead-lettered message, which stands alone in its block; its log
//! index is that of the entry which published it, below the entry that made the block.

use bytes::BufMut;
use raft_log::types::{LogIndex, UnixMillis};

use crate::model::{MessageGroupKey, Position, QueueId, QueueOffset, TagId, TopicId};
use crate::state::codec::{DecodeError, Reader, put_varint};
use crate::state::outcome::Origin;

const GROUPS: u8 = 1;
const ORIGIN: u8 = 2;

/// One message of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexedMessage {
    pub(crate) group: MessageGroupKey,
    /// Where in the entry it begins.
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) tag: TagId,
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
        out.put_u8(if groups { GROUPS } else { 0 } | if self.origin.is_some() { ORIGIN } else { 0 });
        put_varint(out, self.messages.len() as u64);
        put_varint(out, self.index.0);
        put_varint(out, self.stamp.0);
        let mut end = 0;
        for message in &self.messages {
            let gap = message.offset.checked_sub(end).expect("messages of an entry are indexed in their order");
            end = message.offset + message.length;
            put_varint(out, u64::from(gap));
            put_varint(out, u64::from(message.length));
            put_varint(out, u64::from(message.tag.0));
        }
        if groups {
            self.messages.iter().for_each(|message| out.put_u64_le(message.group.0));
        }
        if let Some(origin) = self.origin {
            put_varint(out, origin.topic.0);
            put_varint(out, u64::from(origin.queue.0));
            put_varint(out, origin.offset.0);
        }
    }

    pub(crate) fn decode(base: u64, value: &[u8]) -> Result<IndexBlock, DecodeError> {
        let mut reader = Reader::new("index block", value);
        let flags = reader.u8()?;
        if flags & !(GROUPS | ORIGIN) != 0 {
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
            let (gap, length, tag) = (reader.varint32()?, reader.varint32()?, TagId(reader.varint32()?));
            let offset = end.checked_add(gap).ok_or(reader.invalid())?;
            end = offset.checked_add(length).ok_or(reader.invalid())?;
            messages.push(IndexedMessage { group: MessageGroupKey::NONE, offset, length, tag });
        }
        if flags & GROUPS != 0 {
            for message in &mut messages {
                message.group = MessageGroupKey(reader.u64()?);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn block(groups: bool, origin: Option<Origin>) -> IndexBlock {
        let message = |i: u32| IndexedMessage {
            group: if groups && i == 1 { MessageGroupKey(u64::MAX) } else { MessageGroupKey::NONE },
            offset: 100 + i * 1000,
            length: 900,
            tag: TagId(i),
        };
        let messages = if origin.is_some() { vec![message(0)] } else { (0..3).map(message).collect() };
        IndexBlock { base: 7, index: LogIndex(300), stamp: UnixMillis(1_700_000_000_000), messages, origin }
    }

    #[test]
    fn blocks_go_both_ways() {
        let origin = Origin { topic: TopicId(1 << 40), queue: QueueId(2), offset: QueueOffset(1 << 40) };
        for block in [block(false, None), block(true, None), block(false, Some(origin))] {
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
        let mut block = block(false, None);
        let message = |i: u32| IndexedMessage {
            group: MessageGroupKey::NONE,
            offset: 64 + i * 1100,
            length: 1100,
            tag: TagId::NONE,
        };
        block.messages = (0..64).map(message).collect();
        let mut value = Vec::new();
        block.encode(&mut value);
        assert!(value.len() < 64 * 5, "{} bytes", value.len());
    }
}
