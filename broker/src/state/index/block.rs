//! A block of the index: the messages that one entry added to one queue.
//!
//! ```text
//! key    topic, queue, base offset
//! value  flags varint (1 groups, 2 origin, 4 tags, 8 priorities, 16 times to live, 32 deliveries, 64 key hashes)
//!        count, log index, stamp          varints
//!        per message: gap, length         varints; gap = bytes between the end of the one before and this one
//!        per message, if groups: key u64
//!        if tags: how many, varint, then the key of each, u64, ascending;
//!                 per message: which of them, varint from 1, 0 is none
//!        per message, if set: priority u8; live ms, varint; delivery u8; key hash u64
//!        if origin: topic, queue, offset  varints
//! ```
//! A flag is set, and its fields are there, if some message of the block has more than nothing there. A flag that this build
//! does not know is refused: whoever set it meant something by it. What [`Marks`] will mean stands there: a time to live is
//! counted from the block's stamp and judged when a message is picked, without a timer; each (queue, priority) will have
//! offsets of its own, so the priority belongs to the lane and will be part of the key, not only of the message.
//!
//! About four bytes a message. The origin is of a dead-lettered message, which stands alone in its block; its log
//! index is that of the entry which published it, below the entry that made the block.

use bytes::BufMut;
use raft_log::types::{LogIndex, UnixMillis};

use crate::model::{Marks, MessageGroupKey, Position, QueueId, QueueOffset, TagKey, TopicId};
use crate::state::codec::{DecodeError, Reader, put_varint};
use crate::state::outcome::Origin;

const GROUPS: u64 = 1;
const ORIGIN: u64 = 2;
const TAGS: u64 = 4;
const PRIORITIES: u64 = 8;
const LIVES: u64 = 16;
const DELIVERIES: u64 = 32;
const KEY_HASHES: u64 = 64;
const KNOWN: u64 = GROUPS | ORIGIN | TAGS | PRIORITIES | LIVES | DELIVERIES | KEY_HASHES;

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
    /// Those of each message, or empty if none has any.
    pub(crate) marks: Vec<Marks>,
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

    /// Adds the next message.
    pub(crate) fn push(&mut self, message: IndexedMessage, marks: Marks) {
        if marks != Marks::NONE || !self.marks.is_empty() {
            self.marks.resize(self.messages.len(), Marks::NONE);
            self.marks.push(marks);
        }
        self.messages.push(message);
    }

    /// The marks of the message at this place, from 0.
    pub(crate) fn marks_at(&self, at: usize) -> Marks {
        self.marks.get(at).copied().unwrap_or(Marks::NONE)
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
        assert!(self.marks.is_empty() || self.marks.len() == self.messages.len(), "marks are of all messages or none");
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        let marks = marks_of(&self.marks);
        put_varint(out, flag(groups, GROUPS) | flag(self.origin.is_some(), ORIGIN) | flag(tags, TAGS) | marks);
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
        put_marks(out, marks, &self.marks);
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
        let flags = reader.varint()?;
        if flags & !KNOWN != 0 {
            return Err(DecodeError::Unknown { what: "a flag of an index block", found: flags & !KNOWN });
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
        let marks = read_marks(&mut reader, flags, messages.len())?;
        let origin = if flags & ORIGIN == 0 {
            None
        } else {
            let (topic, queue) = (TopicId(reader.varint()?), QueueId(reader.varint32()?));
            Some(Origin { topic, queue, offset: QueueOffset(reader.varint()?) })
        };
        reader.finish()?;
        Ok(IndexBlock { base, index, stamp, messages, marks, origin })
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

/// The flags of what some message has.
fn marks_of(all: &[Marks]) -> u64 {
    let of = |marks: &Marks| {
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        flag(marks.priority > 0, PRIORITIES)
            | flag(marks.live_ms > 0, LIVES)
            | flag(marks.delivery > 0, DELIVERIES)
            | flag(marks.key_hash > 0, KEY_HASHES)
    };
    all.iter().fold(0, |flags, marks| flags | of(marks))
}

fn put_marks(out: &mut Vec<u8>, flags: u64, all: &[Marks]) {
    if flags & PRIORITIES != 0 {
        all.iter().for_each(|marks| out.put_u8(marks.priority));
    }
    if flags & LIVES != 0 {
        all.iter().for_each(|marks| put_varint(out, marks.live_ms));
    }
    if flags & DELIVERIES != 0 {
        all.iter().for_each(|marks| out.put_u8(marks.delivery));
    }
    if flags & KEY_HASHES != 0 {
        all.iter().for_each(|marks| out.put_u64_le(marks.key_hash));
    }
}

fn read_marks(reader: &mut Reader<'_>, flags: u64, messages: usize) -> Result<Vec<Marks>, DecodeError> {
    if flags & (PRIORITIES | LIVES | DELIVERIES | KEY_HASHES) == 0 {
        return Ok(Vec::new());
    }
    let mut all = vec![Marks::NONE; messages];
    for marks in all.iter_mut().filter(|_| flags & PRIORITIES != 0) {
        marks.priority = reader.u8()?;
    }
    for marks in all.iter_mut().filter(|_| flags & LIVES != 0) {
        marks.live_ms = reader.varint()?;
    }
    for marks in all.iter_mut().filter(|_| flags & DELIVERIES != 0) {
        marks.delivery = reader.u8()?;
    }
    for marks in all.iter_mut().filter(|_| flags & KEY_HASHES != 0) {
        marks.key_hash = reader.u64()?;
    }
    Ok(all)
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
        let stamp = UnixMillis(1_700_000_000_000);
        IndexBlock { base: 7, index: LogIndex(300), stamp, messages, marks: Vec::new(), origin }
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
    fn marks_go_both_ways_and_cost_nothing_where_there_are_none() {
        let plain = {
            let mut value = Vec::new();
            block(true, true, None).encode(&mut value);
            value.len()
        };
        let all = Marks { priority: 9, live_ms: 100, delivery: 2, key_hash: u64::MAX };
        for (one, bytes) in [
            (Marks { priority: 1, ..Marks::NONE }, 3),
            (Marks { live_ms: 127, ..Marks::NONE }, 3),
            (Marks { delivery: 1, ..Marks::NONE }, 3),
            (Marks { key_hash: 1, ..Marks::NONE }, 24),
            (all, 33),
        ] {
            let mut marked = IndexBlock { messages: Vec::new(), ..block(true, true, None) };
            for (at, message) in block(true, true, None).messages.into_iter().enumerate() {
                marked.push(message, if at == 1 { one } else { Marks::NONE });
            }
            assert_eq!((marked.marks_at(0), marked.marks_at(1), marked.marks_at(2)), (Marks::NONE, one, Marks::NONE));
            let mut value = Vec::new();
            marked.encode(&mut value);
            assert_eq!(value.len(), plain + bytes, "{one:?}");
            assert_eq!(IndexBlock::decode(7, &value), Ok(marked));
            for cut in 0..value.len() {
                assert!(IndexBlock::decode(7, &value[..cut]).is_err(), "{one:?} cut at {cut}");
            }
        }
    }

    /// hazards 30: what a flag means, somebody else knows.
    #[test]
    fn a_flag_of_another_version_is_refused_by_name() {
        let mut value = Vec::new();
        block(false, false, None).encode(&mut value);
        value.splice(..1, [0x80, 0x01]);
        let error = IndexBlock::decode(7, &value).unwrap_err().to_string();
        assert_eq!(error, "a flag of an index block is 128, which this version does not know");
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
