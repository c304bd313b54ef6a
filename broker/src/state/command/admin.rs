//! Commands that make things: the cluster itself, topics, groups.

use bytes::{BufMut, BytesMut};
use raft_log::types::{ClusterId, GroupId, UnixMillis};

use super::encoded::EncodedCommand;
use super::kind;
use crate::model::{
    GroupChange, GroupName, GroupSettings, SYSTEM_GROUP, StartPoint, TopicName, TopicSettings, TopicType,
};
use crate::state::codec::{DecodeError, Reader, put_text};
use crate::state::level::Level;

/// The first command of a cluster; a second one is refused (hazards 27).
#[derive(Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// The cluster's identity.
    pub cluster: ClusterId,
    /// The broker group whose state this is: its log tells each node, whatever that one's settings say. Never [`SYSTEM_GROUP`],
    /// which holds no messages.
    pub group: GroupId,
    /// The feature level that the state begins with.
    pub level: Level,
    /// The key by which receipt handles are sealed, drawn at bootstrap.
    pub handle_key: [u8; 32],
}

impl std::fmt::Debug for Bootstrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bootstrap").field("cluster", &self.cluster).field("group", &self.group).finish_non_exhaustive()
    }
}

impl Bootstrap {
    /// The bytes for an entry.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand::new(kind::BOOTSTRAP, 56, 0, |out| self.put(out))
    }

    /// The command's body, which is the record of the cluster as well.
    pub(crate) fn put(&self, out: &mut BytesMut) {
        assert_ne!(self.group, SYSTEM_GROUP, "a data folder of group 0 is refused by the settings");
        out.put_u128_le(self.cluster.0);
        out.put_u32_le(self.group.0);
        out.put_slice(&self.level.bytes());
        out.put_slice(&self.handle_key);
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Bootstrap, DecodeError> {
        let mut reader = Reader::new("bootstrap", body);
        let (cluster, group) = (ClusterId(reader.u128()?), GroupId(reader.u32()?));
        if group == SYSTEM_GROUP {
            return Err(DecodeError::Invalid { what: "broker group 0, which is reserved, as a group of data" });
        }
        let level = Level::read(&mut reader)?;
        let handle_key = reader.bytes(32)?.try_into().expect("asked for 32 bytes");
        reader.finish()?;
        Ok(Bootstrap { cluster, group, level, handle_key })
    }
}

/// Raises the feature level. Only if every member supports it, which the leader asks them before it proposes this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaiseLevel {
    /// The level from the next command on.
    pub to: Level,
}

impl RaiseLevel {
    /// The bytes for an entry.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand::new(kind::RAISE_LEVEL, 4, 0, |out| out.put_slice(&self.to.bytes()))
    }

    pub(crate) fn decode(body: &[u8]) -> Result<RaiseLevel, DecodeError> {
        let mut reader = Reader::new("raise level", body);
        let to = Level::read(&mut reader)?;
        reader.finish()?;
        Ok(RaiseLevel { to })
    }
}

/// Makes a topic. Idempotent: the same again answers as the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTopic {
    /// Its name.
    pub name: TopicName,
    /// What it is made as.
    pub settings: TopicSettings,
}

impl CreateTopic {
    /// The bytes for an entry.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand::new(kind::CREATE_TOPIC, 160, 0, |out| {
            put_text(out, self.name.as_str());
            out.put_u32_le(self.settings.queues);
            out.put_u8(self.settings.kind.code());
        })
    }

    pub(crate) fn decode(body: &[u8]) -> Result<CreateTopic, DecodeError> {
        let mut reader = Reader::new("create topic", body);
        let name = TopicName::parse(reader.text()?).map_err(|_| reader.invalid())?;
        let queues = reader.u32()?;
        let kind = TopicType::from_code(reader.u8()?).ok_or(reader.invalid())?;
        reader.finish()?;
        Ok(CreateTopic { name, settings: TopicSettings { queues, kind } })
    }
}

/// Makes a consumer group. Idempotent like [`CreateTopic`]; an automatic one is content with whatever is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateGroup {
    /// Its name.
    pub name: GroupName,
    /// What it is made as.
    pub settings: GroupSettings,
    /// Whether a first subscription makes it rather than a person (hazards 21).
    pub automatic: bool,
}

impl CreateGroup {
    /// The bytes for an entry.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand::new(kind::CREATE_GROUP, 160, 0, |out| {
            put_text(out, self.name.as_str());
            put_group_settings(out, &self.settings);
            out.put_u8(u8::from(self.automatic));
        })
    }

    pub(crate) fn decode(body: &[u8]) -> Result<CreateGroup, DecodeError> {
        let mut reader = Reader::new("create group", body);
        let name = GroupName::parse(reader.text()?).map_err(|_| reader.invalid())?;
        let settings = read_group_settings(&mut reader)?;
        let automatic = reader.flag()?;
        reader.finish()?;
        Ok(CreateGroup { name, settings, automatic })
    }
}

/// Changes the settings of a consumer group that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateGroup {
    /// Its name.
    pub name: GroupName,
    /// What becomes different.
    pub change: GroupChange,
}

impl UpdateGroup {
    const FIFO: u8 = 1;
    const MAX_ATTEMPTS: u8 = 2;
    const START: u8 = 4;

    /// The bytes for an entry.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        let GroupChange { fifo, max_attempts, start } = self.change;
        let flag = |given: bool, flag: u8| if given { flag } else { 0 };
        EncodedCommand::new(kind::UPDATE_GROUP, 160, 0, |out| {
            put_text(out, self.name.as_str());
            out.put_u8(
                flag(fifo.is_some(), Self::FIFO)
                    | flag(max_attempts.is_some(), Self::MAX_ATTEMPTS)
                    | flag(start.is_some(), Self::START),
            );
            put_group_settings(out, &self.change.of(GroupSettings::default()));
        })
    }

    pub(crate) fn decode(body: &[u8]) -> Result<UpdateGroup, DecodeError> {
        let mut reader = Reader::new("update group", body);
        let name = GroupName::parse(reader.text()?).map_err(|_| reader.invalid())?;
        let flags = reader.u8()?;
        let settings = read_group_settings(&mut reader)?;
        reader.finish()?;
        if flags & !(Self::FIFO | Self::MAX_ATTEMPTS | Self::START) != 0 {
            return Err(DecodeError::Unknown { what: "a flag of a group's change", found: u64::from(flags) });
        }
        let change = GroupChange {
            fifo: (flags & Self::FIFO != 0).then_some(settings.fifo),
            max_attempts: (flags & Self::MAX_ATTEMPTS != 0).then_some(settings.max_attempts),
            start: (flags & Self::START != 0).then_some(settings.start),
        };
        Ok(UpdateGroup { name, change })
    }
}

/// The settings of a group, in commands and in the store.
pub(crate) fn put_group_settings(out: &mut impl BufMut, settings: &GroupSettings) {
    out.put_u8(u8::from(settings.fifo));
    out.put_u16_le(settings.max_attempts);
    let (code, time) = match settings.start {
        StartPoint::First => (0, 0),
        StartPoint::Last => (1, 0),
        StartPoint::Time(time) => (2, time.0),
    };
    out.put_u8(code);
    out.put_u64_le(time);
}

/// Reads what [`put_group_settings`] wrote.
pub(crate) fn read_group_settings(reader: &mut Reader<'_>) -> Result<GroupSettings, DecodeError> {
    let fifo = reader.flag()?;
    let max_attempts = reader.u16()?;
    let code = reader.u8()?;
    let time = UnixMillis(reader.u64()?);
    let start = match code {
        0 => StartPoint::First,
        1 => StartPoint::Last,
        2 => StartPoint::Time(time),
        _ => return Err(reader.invalid()),
    };
    if max_attempts == 0 {
        return Err(reader.invalid());
    }
    Ok(GroupSettings { fifo, max_attempts, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_go_both_ways() {
        let body = |command: EncodedCommand| command.frame.slice(super::super::encoded::FRAME_BYTES..);
        let bootstrap =
            Bootstrap { cluster: ClusterId(5), group: GroupId(9), level: Level::NEWEST, handle_key: [7; 32] };
        assert_eq!(Bootstrap::decode(&body(bootstrap.encode())), Ok(bootstrap));
        let settings = TopicSettings { queues: 4, kind: TopicType::Fifo };
        let topic = CreateTopic { name: TopicName::parse("orders").unwrap(), settings };
        assert_eq!(CreateTopic::decode(&body(topic.encode())), Ok(topic));
        for start in [StartPoint::First, StartPoint::Last, StartPoint::Time(UnixMillis(9))] {
            let settings = GroupSettings { fifo: true, max_attempts: 3, start };
            let group = CreateGroup { name: GroupName::parse("g").unwrap(), settings, automatic: true };
            assert_eq!(CreateGroup::decode(&body(group.encode())), Ok(group));
        }
        let changes = [
            GroupChange::default(),
            GroupChange { fifo: Some(false), ..GroupChange::default() },
            GroupChange { fifo: Some(true), max_attempts: Some(1), start: Some(StartPoint::Time(UnixMillis(9))) },
        ];
        for change in changes {
            let update = UpdateGroup { name: GroupName::parse("g").unwrap(), change };
            assert_eq!(UpdateGroup::decode(&body(update.encode())), Ok(update));
        }
    }
}
