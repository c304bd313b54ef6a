//! The numbers of topics and consumer groups: given out in order, never twice.
//!
//! What comes next is state of its own and does not follow from what is there: a topic or group that was deleted leaves
//! a gap, and whatever still names it (a handle, a command on its way, a result of a producer) names nothing.

use bytes::BufMut;

use super::changes::Changes;
use super::codec::{DecodeError, Reader};
use super::keys;
use crate::model::{ConsumerGroupId, TopicId};

/// The next numbers. Invariant: greater than any that was ever given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NextIds {
    pub(crate) topic: TopicId,
    pub(crate) group: ConsumerGroupId,
}

impl NextIds {
    pub(crate) fn take_topic(&mut self, changes: &mut Changes) -> TopicId {
        let id = self.topic;
        self.topic.0 = id.0.checked_add(1).expect("topics are never 2^64");
        changes.put(keys::NEXT_IDS, &self.encode());
        id
    }

    pub(crate) fn take_group(&mut self, changes: &mut Changes) -> ConsumerGroupId {
        let id = self.group;
        self.group.0 = id.0.checked_add(1).expect("groups are never 2^64");
        changes.put(keys::NEXT_IDS, &self.encode());
        id
    }

    fn encode(self) -> Vec<u8> {
        let mut record = Vec::with_capacity(16);
        record.put_u64_le(self.topic.0);
        record.put_u64_le(self.group.0);
        record
    }

    pub(crate) fn decode(record: &[u8]) -> Result<NextIds, DecodeError> {
        let mut reader = Reader::new("next numbers", record);
        let ids = NextIds { topic: TopicId(reader.u64()?), group: ConsumerGroupId(reader.u64()?) };
        reader.finish()?;
        Ok(ids)
    }
}
