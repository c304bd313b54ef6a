//! Topics and their queues: the working set and its records.

use std::collections::BTreeMap;

use bytes::{BufMut, BytesMut};
use raft_log::types::GroupId;

use super::changes::Changes;
use super::codec::{DecodeError, Reader, put_text};
use super::ids::NextIds;
use super::keys;
use crate::model::{ConsumerGroupId, Placement, QueueId, TopicId, TopicName, TopicSettings, TopicType};

/// Topics of a broker group.
pub(crate) const TOPICS_MAX: usize = 100_000;
/// Queues of one topic in one broker group.
pub(crate) const QUEUES_MAX: u32 = 4096;
/// All topics, by number and by name.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    all: BTreeMap<TopicId, Topic>,
    by_name: BTreeMap<TopicName, TopicId>,
    /// How many were taken out.
    changed: u64,
}

/// A topic. Invariant: `queues` has as many as its placement in this state's group says, which are those of the settings;
/// offsets never go back.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) name: TopicName,
    pub(crate) settings: TopicSettings,
    /// Its queues in this state's group; the record has room for those in others.
    pub(crate) placement: Placement,
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
    /// Rises when somebody who knows a topic knows wrong things of it.
    pub(crate) fn changed(&self) -> u64 {
        self.changed
    }

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

    /// Makes a topic that is not there, in the state's own group, and its record.
    pub(crate) fn create(
        &mut self,
        name: TopicName,
        settings: TopicSettings,
        group: GroupId,
        ids: &mut NextIds,
        changes: &mut Changes,
    ) -> TopicId {
        let id = ids.take_topic(changes);
        let placement = Placement { group, queues: settings.queues, epoch: 1 };
        changes.put(keys::topic(id), &encode(&name, settings.kind, placement));
        self.restore(id, name, settings.kind, placement).expect("a new number, and the name was looked up");
        id
    }

    /// Takes a topic out, and its record.
    pub(crate) fn remove(&mut self, id: TopicId, changes: &mut Changes) -> Option<Topic> {
        let topic = self.all.remove(&id)?;
        self.changed += 1;
        self.by_name.remove(&topic.name);
        changes.delete(keys::topic(id));
        Some(topic)
    }

    fn restore(&mut self, id: TopicId, name: TopicName, kind: TopicType, placement: Placement) -> Option<()> {
        let settings = TopicSettings { queues: placement.queues, kind };
        let queues = vec![Queue::default(); placement.queues as usize];
        let named = self.by_name.insert(name.clone(), id);
        let topic = Topic { id, name, settings, placement, queues, subscribers: Vec::new() };
        let numbered = self.all.insert(id, topic);
        (named.is_none() && numbered.is_none()).then_some(())
    }

    /// Takes a topic's record into the state of a broker group.
    pub(crate) fn load(&mut self, id: TopicId, group: GroupId, record: &[u8]) -> Result<(), DecodeError> {
        let (name, kind, placement) = decode(group, record)?;
        self.restore(id, name, kind, placement).ok_or(DecodeError::Invalid { what: "topic" })
    }
}

/// The record of a topic.
///
/// ```text
/// name text, type u8, placements u16, each: broker group u32, queues u32, epoch u64
/// ```
fn encode(name: &TopicName, kind: TopicType, placement: Placement) -> BytesMut {
    let mut record = BytesMut::with_capacity(64);
    put_text(&mut record, name.as_str());
    record.put_u8(kind.code());
    record.put_u16_le(1);
    record.put_u32_le(placement.group.0);
    record.put_u32_le(placement.queues);
    record.put_u64_le(placement.epoch);
    record
}

/// Today a topic lies in one group, which is that of the state that knows it.
fn decode(group: GroupId, record: &[u8]) -> Result<(TopicName, TopicType, Placement), DecodeError> {
    let mut reader = Reader::new("topic", record);
    let name = TopicName::parse(reader.text()?).map_err(|_| reader.invalid())?;
    let kind = TopicType::from_code(reader.u8()?).ok_or(reader.invalid())?;
    let found = reader.u16()?;
    if found != 1 {
        return Err(DecodeError::Unknown { what: "the number of a topic's placements", found: u64::from(found) });
    }
    let placement = Placement { group: GroupId(reader.u32()?), queues: reader.u32()?, epoch: reader.u64()? };
    if placement.group != group {
        let found = u64::from(placement.group.0);
        return Err(DecodeError::Unknown { what: "the broker group of a topic's queues", found });
    }
    if !(1..=QUEUES_MAX).contains(&placement.queues) || placement.epoch == 0 {
        return Err(reader.invalid());
    }
    reader.finish()?;
    Ok((name, kind, placement))
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

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: GroupId = GroupId(3);

    fn record(placement: Placement) -> BytesMut {
        encode(&TopicName::parse("orders").unwrap(), TopicType::Fifo, placement)
    }

    #[test]
    fn a_topic_says_in_which_group_its_queues_are() {
        let placement = Placement { group: OWN, queues: 4, epoch: 1 };
        let mut topics = Topics::default();
        topics.load(TopicId(1), OWN, &record(placement)).unwrap();
        let topic = topics.named("orders").unwrap();
        assert_eq!((topic.placement, topic.settings.queues, topic.queues.len()), (placement, 4, 4));
    }

    #[test]
    fn queues_of_another_group_or_in_several_are_refused_by_name() {
        let here = Placement { group: OWN, queues: 4, epoch: 1 };
        for (group, queues, epoch) in [(OWN, 0, 1), (OWN, QUEUES_MAX + 1, 1), (OWN, 4, 0), (GroupId(4), 4, 1)] {
            assert!(decode(OWN, &record(Placement { group, queues, epoch })).is_err(), "{group} {queues} {epoch}");
        }
        let mut two = record(here);
        two.put_slice(&record(here)[9 + 2..]);
        two[9] = 2;
        let error = decode(OWN, &two).unwrap_err().to_string();
        assert_eq!(error, "the number of a topic's placements is 2, which this version does not know");
    }
}
