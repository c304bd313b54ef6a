//! What is deleted and not erased yet.
//!
//! ```text
//!   DeleteTopic, DeleteGroup ─► tombstone: nobody finds it any more ─► Erase, Erase, ... ─► nothing of it is left
//! ```
//! A deletion costs the same however much there is: the record of the topic or group gives way to a tombstone, and the
//! name is free. What belonged to it is erased in steps of a bounded size, which the leader proposes; the tombstones are
//! state, so a new leader goes on where the old one was. From the tombstone on, nothing but these steps and the passing of time
//! touches what belonged to it, and its number is never used again.

use std::collections::{BTreeMap, BTreeSet};

use super::changes::Changes;
use super::codec::{DecodeError, Reader};
use super::keys;
use super::topics::Queue;
use crate::model::{ConsumerGroupId, QueueId, TopicId};

/// The tombstones, by number. They keep what is needed to read the records that are left.
#[derive(Debug, Default)]
pub(crate) struct Erasures {
    /// With the number of queues.
    topics: BTreeMap<TopicId, u32>,
    groups: BTreeSet<ConsumerGroupId>,
    /// Dead letters of deleted topics, by queue: each is counted where its body lies.
    letters: BTreeMap<(TopicId, QueueId), Queue>,
}

impl Erasures {
    pub(crate) fn len(&self) -> usize {
        self.topics.len() + self.groups.len()
    }

    pub(crate) fn first_topic(&self) -> Option<TopicId> {
        self.topics.first_key_value().map(|(topic, _)| *topic)
    }

    pub(crate) fn first_group(&self) -> Option<ConsumerGroupId> {
        self.groups.first().copied()
    }

    pub(crate) fn queues_of(&self, topic: TopicId) -> Option<u32> {
        self.topics.get(&topic).copied()
    }

    pub(crate) fn has_group(&self, group: ConsumerGroupId) -> bool {
        self.groups.contains(&group)
    }

    pub(crate) fn add_topic(&mut self, topic: TopicId, queues: u32, changes: &mut Changes) {
        changes.put(keys::erased_topic(topic), &queues.to_le_bytes());
        let before = self.topics.insert(topic, queues);
        assert!(before.is_none(), "a topic is deleted once");
    }

    pub(crate) fn add_group(&mut self, group: ConsumerGroupId, changes: &mut Changes) {
        changes.put(keys::erased_group(group), &[]);
        assert!(self.groups.insert(group), "a group is deleted once");
    }

    pub(crate) fn add_letters(&mut self, topic: TopicId, queue: QueueId, range: Queue, changes: &mut Changes) {
        changes.put(keys::erased_letters(topic, queue), &range.encode());
        self.letters.insert((topic, queue), range);
    }

    /// Dead letters of a topic that are not erased yet.
    pub(crate) fn letters_of(&self, topic: TopicId) -> Option<(QueueId, Queue)> {
        let mut letters = self.letters.range((topic, QueueId(0))..=(topic, QueueId(u32::MAX)));
        letters.next().map(|((_, queue), range)| (*queue, *range))
    }

    /// Nothing is left of a queue's dead letters.
    pub(crate) fn finish_letters(&mut self, topic: TopicId, queue: QueueId, changes: &mut Changes) {
        changes.delete(keys::erased_letters(topic, queue));
        self.letters.remove(&(topic, queue)).expect("only what is deleted is erased");
    }

    /// Nothing is left of the topic.
    pub(crate) fn finish_topic(&mut self, topic: TopicId, changes: &mut Changes) {
        changes.delete(keys::erased_topic(topic));
        self.topics.remove(&topic).expect("only what is deleted is erased");
    }

    /// Nothing is left of the group.
    pub(crate) fn finish_group(&mut self, group: ConsumerGroupId, changes: &mut Changes) {
        changes.delete(keys::erased_group(group));
        assert!(self.groups.remove(&group), "only what is deleted is erased");
    }

    pub(crate) fn load_topic(&mut self, topic: TopicId, record: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new("deleted topic", record);
        self.topics.insert(topic, reader.u32()?);
        reader.finish()
    }

    pub(crate) fn load_letters(&mut self, topic: TopicId, queue: QueueId, record: &[u8]) -> Result<(), DecodeError> {
        self.letters.insert((topic, queue), Queue::decode(record)?);
        Ok(())
    }

    pub(crate) fn load_group(&mut self, group: ConsumerGroupId, record: &[u8]) -> Result<(), DecodeError> {
        self.groups.insert(group);
        Reader::new("deleted group", record).finish()
    }
}
