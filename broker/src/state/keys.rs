//! The keys of the store: a kind, then numbers in big-endian, so that records sort by what they are asked for.
//!
//! ```text
//! F                                     format of the store
//! A                                     applied entry, membership, clock, digest
//! B                                     cluster identity, broker group and handle key
//! H                                     the feature level
//! C                                     the numbers that the next topic and the next group get
//! T topic                               a topic
//! I topic queue base-offset             consume index: one block of messages
//! G group                               a consumer group
//! S group topic                         a subscription: the group has begun this topic
//! P group topic queue                   how far the group has taken from the queue
//! D group topic queue offset            a message taken but not done with
//! E client                              a lease
//! W group topic queue lane              where the tail of a message group begins and ends
//! w group topic queue lane number       a message in a tail
//! Q topic queue                         the range of a queue whose beginning was trimmed
//! R                                     the readable start, and how far the queues have followed it
//! K first-index                         a stretch of the log: its dead letters
//! L index topic offset                  where a dead letter lies
//! X topic                               a deleted topic that is not erased yet
//! x topic queue                         dead letters of it that are not erased yet
//! Z group                               a deleted group that is not erased yet
//! Y name                                a name of a deleted group, and until when it is refused to subscriptions
//! V                                     the time that idle groups go by
//! N topic producer                      an idempotent producer
//! n topic producer base-sequence        results of it
//! ```

use raft_log::types::LogIndex;

use crate::model::{ClientKey, ConsumerGroupId, GroupName, MessageGroupKey, ProducerId, QueueId, TopicId};

pub(crate) const FORMAT: &[u8] = b"F";
pub(crate) const APPLIED: &[u8] = b"A";
pub(crate) const CLUSTER: &[u8] = b"B";
pub(crate) const LEVEL: &[u8] = b"H";
pub(crate) const NEXT_IDS: &[u8] = b"C";
pub(crate) const RETAINED: &[u8] = b"R";
pub(crate) const TOPICS: &[u8] = b"T";
pub(crate) const GROUPS: &[u8] = b"G";
pub(crate) const SUBSCRIPTIONS: &[u8] = b"S";
pub(crate) const QUEUES: &[u8] = b"Q";
pub(crate) const INDEX: &[u8] = b"I";
pub(crate) const TAKEN: &[u8] = b"P";
pub(crate) const PENDING: &[u8] = b"D";
pub(crate) const TAILS: &[u8] = b"W";
pub(crate) const LEASES: &[u8] = b"E";
pub(crate) const PRODUCERS: &[u8] = b"N";
pub(crate) const STRETCHES: &[u8] = b"K";
pub(crate) const DEAD_LETTERS: &[u8] = b"L";
pub(crate) const PRODUCER_ROWS: &[u8] = b"n";
pub(crate) const ERASED_TOPICS: &[u8] = b"X";
pub(crate) const ERASED_LETTERS: &[u8] = b"x";
pub(crate) const ERASED_GROUPS: &[u8] = b"Z";
pub(crate) const BURIED: &[u8] = b"Y";
pub(crate) const SERVED: &[u8] = b"V";

/// No key of numbers is longer than 1 + 8 + 8 + 4 + 8 + 8 bytes.
pub(crate) const KEY_BYTES_MAX: usize = 37;
/// How much of the key of an index block says its queue.
pub(crate) const QUEUE_INDEX_BYTES: usize = 1 + 8 + 4;

/// A key on the stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    bytes: [u8; KEY_BYTES_MAX],
    length: usize,
}

impl Key {
    fn new(kind: u8) -> Key {
        let mut bytes = [0; KEY_BYTES_MAX];
        bytes[0] = kind;
        Key { bytes, length: 1 }
    }

    fn put(mut self, part: &[u8]) -> Key {
        self.bytes[self.length..self.length + part.len()].copy_from_slice(part);
        self.length += part.len();
        self
    }

    fn u32(self, number: u32) -> Key {
        self.put(&number.to_be_bytes())
    }

    fn u64(self, number: u64) -> Key {
        self.put(&number.to_be_bytes())
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

pub(crate) fn topic(topic: TopicId) -> Key {
    Key::new(b'T').u64(topic.0)
}

pub(crate) fn queue(topic: TopicId, queue: QueueId) -> Key {
    Key::new(b'Q').u64(topic.0).u32(queue.0)
}

/// The prefix of the ranges of a topic's queues.
pub(crate) fn topic_queues(topic: TopicId) -> Key {
    Key::new(b'Q').u64(topic.0)
}

/// The prefix of a topic's index.
pub(crate) fn topic_index(topic: TopicId) -> Key {
    Key::new(b'I').u64(topic.0)
}

pub(crate) fn erased_topic(topic: TopicId) -> Key {
    Key::new(b'X').u64(topic.0)
}

pub(crate) fn erased_letters(topic: TopicId, queue: QueueId) -> Key {
    Key::new(b'x').u64(topic.0).u32(queue.0)
}

pub(crate) fn erased_group(group: ConsumerGroupId) -> Key {
    Key::new(b'Z').u64(group.0)
}

pub(crate) fn buried(name: &GroupName) -> Vec<u8> {
    [BURIED, name.as_str().as_bytes()].concat()
}

/// The prefix of a queue's index.
pub(crate) fn queue_index(topic: TopicId, queue: QueueId) -> Key {
    Key::new(b'I').u64(topic.0).u32(queue.0)
}

pub(crate) fn index(topic: TopicId, queue: QueueId, base: u64) -> Key {
    queue_index(topic, queue).u64(base)
}

/// Where the block with this key begins.
pub(crate) fn base_of(index: &[u8]) -> Option<u64> {
    let mut numbers = KeyReader::new(index);
    let (_, _, base) = (numbers.u64()?, numbers.u32()?, numbers.u64()?);
    Some(base)
}

pub(crate) fn group(group: ConsumerGroupId) -> Key {
    Key::new(b'G').u64(group.0)
}

pub(crate) fn subscription(group: ConsumerGroupId, topic: TopicId) -> Key {
    Key::new(b'S').u64(group.0).u64(topic.0)
}

pub(crate) fn taken(group: ConsumerGroupId, topic: TopicId, queue: QueueId) -> Key {
    Key::new(b'P').u64(group.0).u64(topic.0).u32(queue.0)
}

pub(crate) fn pending(group: ConsumerGroupId, topic: TopicId, queue: QueueId, offset: u64) -> Key {
    Key::new(b'D').u64(group.0).u64(topic.0).u32(queue.0).u64(offset)
}

pub(crate) fn lease(client: ClientKey) -> Key {
    Key::new(b'E').u64(client.0)
}

pub(crate) fn tail(group: ConsumerGroupId, topic: TopicId, queue: QueueId, lane: MessageGroupKey) -> Key {
    Key::new(b'W').u64(group.0).u64(topic.0).u32(queue.0).u64(lane.0)
}

pub(crate) fn in_tail(
    group: ConsumerGroupId,
    topic: TopicId,
    queue: QueueId,
    lane: MessageGroupKey,
    number: u64,
) -> Key {
    Key::new(b'w').u64(group.0).u64(topic.0).u32(queue.0).u64(lane.0).u64(number)
}

/// The prefixes of the tails of a subscription, and of what lies in them.
pub(crate) fn tails_of(group: ConsumerGroupId, topic: TopicId) -> [Key; 2] {
    [b'W', b'w'].map(|kind| Key::new(kind).u64(group.0).u64(topic.0))
}

pub(crate) fn producer(topic: TopicId, producer: ProducerId) -> Key {
    Key::new(b'N').u64(topic.0).put(&producer.0.to_be_bytes())
}

pub(crate) fn producer_row(topic: TopicId, producer: ProducerId, base_sequence: u64) -> Key {
    Key::new(b'n').u64(topic.0).put(&producer.0.to_be_bytes()).u64(base_sequence)
}

pub(crate) fn stretch(first: LogIndex) -> Key {
    Key::new(b'K').u64(first.0)
}

pub(crate) fn dead_letter(index: LogIndex, topic: TopicId, offset: u64) -> Key {
    Key::new(b'L').u64(index.0).u64(topic.0).u64(offset)
}

/// Reads a key's numbers behind its kind; what they are, the caller knows by the kind.
#[derive(Debug)]
pub(crate) struct KeyReader<'a>(&'a [u8]);

impl<'a> KeyReader<'a> {
    pub(crate) fn new(key: &'a [u8]) -> KeyReader<'a> {
        KeyReader(&key[1..])
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, left) = self.0.split_first_chunk::<N>()?;
        self.0 = left;
        Some(*head)
    }

    /// What is left, where a key ends with a text.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_a_queue_sort_by_offset_and_read_back() {
        let key = |base| index(TopicId(1), QueueId(2), base);
        assert!(key(255).as_ref() < key(256).as_ref());
        assert!(key(256).as_ref().starts_with(queue_index(TopicId(1), QueueId(2)).as_ref()));
        assert_eq!((base_of(key(7).as_ref()), base_of(queue_index(TopicId(1), QueueId(2)).as_ref())), (Some(7), None));
        let longest = producer_row(TopicId(7), ProducerId(u128::MAX), 9);
        let mut reader = KeyReader::new(longest.as_ref());
        assert_eq!((reader.u64(), reader.u128(), reader.u64()), (Some(7), Some(u128::MAX), Some(9)));
        assert_eq!(reader.u32(), None);
    }
}
