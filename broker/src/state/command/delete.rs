//! Commands that delete: topics, consumer groups, and what is left of them.

use bytes::BufMut;

use super::encoded::EncodedCommand;
use super::kind;
use crate::model::{ConsumerGroupId, TopicId};
use crate::state::codec::{DecodeError, Reader};

/// Deletes a topic with everything in it, for all groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteTopic {
    /// The topic.
    pub topic: TopicId,
}

impl DeleteTopic {
    /// The bytes for an entry.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand::new(kind::DELETE_TOPIC, 8, 0, |out| out.put_u64_le(self.topic.0))
    }

    pub(crate) fn decode(body: &[u8]) -> Result<DeleteTopic, DecodeError> {
        let mut reader = Reader::new("delete topic", body);
        let topic = TopicId(reader.u64()?);
        reader.finish()?;
        Ok(DeleteTopic { topic })
    }
}

/// Deletes a consumer group: how far it has come, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteGroup {
    /// The group.
    pub group: ConsumerGroupId,
    /// Whether the topic with its dead letters is deleted as well.
    pub with_dead_letters: bool,
    /// For how long from now no subscription makes a group of this name by itself, in milliseconds; not less than
    /// a message is retained, or what the group was done with could be delivered again.
    pub refuse_ms: u64,
}

impl DeleteGroup {
    /// The bytes for an entry.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand::new(kind::DELETE_GROUP, 17, 0, |out| {
            out.put_u64_le(self.group.0);
            out.put_u8(u8::from(self.with_dead_letters));
            out.put_u64_le(self.refuse_ms);
        })
    }

    pub(crate) fn decode(body: &[u8]) -> Result<DeleteGroup, DecodeError> {
        let mut reader = Reader::new("delete group", body);
        let group = ConsumerGroupId(reader.u64()?);
        let (with_dead_letters, refuse_ms) = (reader.flag()?, reader.u64()?);
        reader.finish()?;
        Ok(DeleteGroup { group, with_dead_letters, refuse_ms })
    }
}

/// Erases some of what was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erase {
    /// So many records at most.
    pub records: u32,
}

impl Erase {
    /// The bytes for an entry.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand::new(kind::ERASE, 4, 0, |out| out.put_u32_le(self.records))
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Erase, DecodeError> {
        let mut reader = Reader::new("erase", body);
        let records = reader.u32()?;
        reader.finish()?;
        Ok(Erase { records })
    }
}

/// What the leader says regularly while it serves: which groups are polled for although nothing comes, and what becomes
/// of automatic groups that nobody uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepGroups {
    /// Groups that somebody polled for.
    pub polled: Vec<ConsumerGroupId>,
    /// Idle time after which a group goes that never acknowledged anything, in milliseconds.
    pub unused_ms: u64,
    /// Idle time after which any automatic group goes; not less than a message is retained.
    pub idle_ms: u64,
}

impl KeepGroups {
    /// The bytes for an entry.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand::new(kind::KEEP_GROUPS, 20 + self.polled.len() * 8, 0, |out| {
            out.put_u64_le(self.unused_ms);
            out.put_u64_le(self.idle_ms);
            out.put_u32_le(u32::try_from(self.polled.len()).expect("groups are limited"));
            self.polled.iter().for_each(|group| out.put_u64_le(group.0));
        })
    }

    pub(crate) fn decode(body: &[u8]) -> Result<KeepGroups, DecodeError> {
        let mut reader = Reader::new("keep groups", body);
        let (unused_ms, idle_ms) = (reader.u64()?, reader.u64()?);
        let count = reader.count()?;
        let polled: Result<Vec<_>, _> = (0..count).map(|_| reader.u64().map(ConsumerGroupId)).collect();
        reader.finish()?;
        Ok(KeepGroups { polled: polled?, unused_ms, idle_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::command::encoded::FRAME_BYTES;

    #[test]
    fn commands_go_both_ways() {
        let body = |command: EncodedCommand| command.frame.slice(FRAME_BYTES..);
        let (topic, group) = (TopicId(1 << 40), ConsumerGroupId(1 << 50));
        let delete = DeleteTopic { topic };
        assert_eq!(DeleteTopic::decode(&body(delete.encode())), Ok(delete));
        let delete = DeleteGroup { group, with_dead_letters: true, refuse_ms: u64::MAX };
        assert_eq!(DeleteGroup::decode(&body(delete.encode())), Ok(delete));
        let erase = Erase { records: 5 };
        assert_eq!(Erase::decode(&body(erase.encode())), Ok(erase));
        for polled in [vec![], vec![group, ConsumerGroupId(0)]] {
            let keep = KeepGroups { polled, unused_ms: 1, idle_ms: 2 };
            assert_eq!(KeepGroups::decode(&body(keep.encode())), Ok(keep));
        }
    }
}
