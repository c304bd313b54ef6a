//! Topics and their queues: the working set and its records.

use std::collections::BTreeMap;

use bytes::BytesMut;

use super::changes::Changes;
use super::codec::{DecodeError, Reader, put_text};
use super::ids::NextIds;
use super::keys;
use crate::model::{ConsumerGroupId, QueueId, TopicId, TopicName, TopicSettings, TopicType};

/// Topics of a broker group.
pub(crate) const TOPICS_MAX: usize = 100_000;
/// Queues of one topic in one broker group.
pub(crate) const QUEUES_MAX: u32 = 4096;
/// All topics, by number and by name.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    all: BTreeMap<TopicId, Topic>,
    by_name: BTreeMap<TopicName, TopicId>,
}

/// A topic. Invariant: `queues` has as many as the settings say, and offsets never go back.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) name: TopicName,
    pub(crate) settings: TopicSettings,
    pub(crate) queues: Vec<Queue>,
    /// Groups that have received from it, in order.
    pub(crate) subscribers: Vec<ConsumerGroupId>,
}

/// The range of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) first: u64,
    pub(crate) next: u64,
}

impl Queue {
    /// The record of a queue whose beginning was trimmed; of others, the index says all.
    pub(crate) fn encode(self) -> [u8; 16] {
        let mut record = [0; 16];
        record[..8].copy_from_slice(&self.first.to_le_bytes());
        record[8..].copy_from_slice(&self.next.to_le_bytes());
        record
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Queue, DecodeError> {
        let mut reader = Reader::new("queue", record);
        let queue = Queue { first: reader.u64()?, next: reader.u64()? };
        if queue.first > queue.next {
            return Err(reader.invalid());
        }
        reader.finish()?;
        Ok(queue)
    }
}

impl Topics {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn get(&self, id: TopicId) -> Option<&Topic> {
        self.all.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.all.get_mut(&id)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name).and_then(|id| self.get(*id))
    }

    /// Those from a number on, in order.
    pub(crate) fn from(&self, id: TopicId) -> impl Iterator<Item = &Topic> {
        self.all.range(id..).map(|(_, topic)| topic)
    }

    pub(crate) fn by_name(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values().filter_map(|id| self.get(*id))
    }

    /// Makes a topic that is not there, and its record.
    pub(crate) fn create(
        &mut self,
        name: TopicName,
        settings: TopicSettings,
        ids: &mut NextIds,
        changes: &mut Changes,
    ) -> TopicId {
        let id = ids.take_topic(changes);
        let mut record = BytesMut::with_capacity(64);
        put_text(&mut record, name.as_str());
        record.extend_from_slice(&settings.queues.to_le_bytes());
        record.extend_from_slice(&[settings.kind.code()]);
        changes.put(keys::topic(id), &record);
        self.restore(id, name, settings).expect("a new number, and the name was looked up");
        id
    }

    /// Takes a topic out, and its record.
    pub(crate) fn remove(&mut self, id: TopicId, changes: &mut Changes) -> Option<Topic> {
        let topic = self.all.remove(&id)?;
        self.by_name.remove(&topic.name);
        changes.delete(keys::topic(id));
        Some(topic)
    }

    fn restore(&mut self, id: TopicId, name: TopicName, settings: TopicSettings) -> Option<()> {
        let queues = vec![Queue::default(); settings.queues as usize];
        let named = self.by_name.insert(name.clone(), id);
        let topic = Topic { id, name, settings, queues, subscribers: Vec::new() };
        let numbered = self.all.insert(id, topic);
        (named.is_none() && numbered.is_none()).then_some(())
    }

    /// Takes a topic's record in.
    pub(crate) fn load(&mut self, id: TopicId, record: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new("topic", record);
        let name = TopicName::parse(reader.text()?).map_err(|_| reader.invalid())?;
        let queues = reader.u32()?;
        let kind = TopicType::from_code(reader.u8()?).ok_or(reader.invalid())?;
        if queues == 0 || queues > QUEUES_MAX {
            return Err(reader.invalid());
        }
        self.restore(id, name, TopicSettings { queues, kind }).ok_or(reader.invalid())?;
        reader.finish()
    }
}

impl Topic {
    pub(crate) fn queue(&self, queue: QueueId) -> Option<&Queue> {
        self.queues.get(queue.0 as usize)
    }

    pub(crate) fn subscribe(&mut self, group: ConsumerGroupId) {
        let at = self.subscribers.binary_search(&group).expect_err("a group subscribes once");
        self.subscribers.insert(at, group);
    }

    pub(crate) fn unsubscribe(&mut self, group: ConsumerGroupId) {
        let at = self.subscribers.binary_search(&group).expect("only a subscriber leaves");
        self.subscribers.remove(at);
    }
}
