//! Consumer groups: the working set and its records.

use std::collections::BTreeMap;

use bytes::{BufMut, BytesMut};
use raft_log::types::UnixMillis;

use super::changes::Changes;
use super::codec::{DecodeError, Reader, put_text};
use super::command::{put_group_settings, read_group_settings};
use super::idle_groups::{IdleGroups, Use};
use super::ids::NextIds;
use super::keys;
use crate::model::{ConsumerGroupId, GroupName, GroupSettings};

/// Consumer groups of a broker group.
pub(crate) const GROUPS_MAX: usize = if cfg!(test) { 50 } else { 100_000 };

/// All groups, by number and by name, and automatic ones by their use.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    all: BTreeMap<ConsumerGroupId, Group>,
    by_name: BTreeMap<GroupName, ConsumerGroupId>,
    idle: IdleGroups,
    /// How many were taken out, or got other settings.
    changed: u64,
}

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: ConsumerGroupId,
    pub(crate) name: GroupName,
    pub(crate) settings: GroupSettings,
    /// Of one that a subscription made.
    pub(crate) automatic: Option<Use>,
}

impl Group {
    fn record(&self) -> BytesMut {
        let mut record = BytesMut::with_capacity(64);
        put_text(&mut record, self.name.as_str());
        put_group_settings(&mut record, &self.settings);
        record.put_u8(u8::from(self.automatic.is_some()));
        if let Some(at) = self.automatic {
            record.put_u8(u8::from(at.acknowledged));
            record.put_u64_le(at.until_ms);
        }
        record
    }
}

impl Groups {
    /// Rises when somebody who knows a group knows wrong things of it.
    pub(crate) fn changed(&self) -> u64 {
        self.changed
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn get(&self, id: ConsumerGroupId) -> Option<&Group> {
        self.all.get(&id)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Group> {
        self.by_name.get(name).and_then(|id| self.get(*id))
    }

    pub(crate) fn by_name(&self) -> impl Iterator<Item = &Group> {
        self.by_name.values().filter_map(|id| self.get(*id))
    }

    /// Automatic groups by how long nobody used them.
    pub(crate) fn idle(&self) -> &IdleGroups {
        &self.idle
    }

    /// Makes a group that is not there, and its record.
    pub(crate) fn create(
        &mut self,
        name: GroupName,
        settings: GroupSettings,
        automatic: bool,
        ids: &mut NextIds,
        changes: &mut Changes,
    ) -> ConsumerGroupId {
        let id = ids.take_group(changes);
        let automatic = automatic.then(|| self.idle.new_use());
        let group = Group { id, name, settings, automatic };
        changes.put(keys::group(id), &group.record());
        self.restore(group).expect("a new number, and the name was looked up");
        id
    }

    /// Takes a group out, and its record.
    pub(crate) fn remove(&mut self, id: ConsumerGroupId, changes: &mut Changes) -> Option<Group> {
        let group = self.all.remove(&id)?;
        self.changed += 1;
        self.by_name.remove(&group.name);
        if let Some(at) = group.automatic {
            self.idle.unlist(id, at);
        }
        changes.delete(keys::group(id));
        Some(group)
    }

    /// Somebody polls for the group, or gets messages that are hidden for so long.
    pub(crate) fn note_use(&mut self, id: ConsumerGroupId, hidden_ms: u64, changes: &mut Changes) {
        let before = self.all.get(&id).and_then(|group| group.automatic);
        if let Some(now) = before.and_then(|before| self.idle.used(before, hidden_ms)) {
            self.set_use(id, now, changes);
        }
    }

    /// The group acknowledged a message.
    pub(crate) fn note_acknowledged(&mut self, id: ConsumerGroupId, changes: &mut Changes) {
        if let Some(before @ Use { acknowledged: false, .. }) = self.all.get(&id).and_then(|group| group.automatic) {
            self.set_use(id, Use { acknowledged: true, ..before }, changes);
        }
    }

    fn set_use(&mut self, id: ConsumerGroupId, now: Use, changes: &mut Changes) {
        let group = self.all.get_mut(&id).expect("the caller looked it up");
        let before = group.automatic.replace(now).expect("only the use of automatic groups is kept");
        self.idle.unlist(id, before);
        self.idle.list(id, now);
        changes.put(keys::group(id), &group.record());
    }

    /// Time goes by in which the leader serves.
    pub(crate) fn serve(&mut self, now: UnixMillis, changes: &mut Changes) {
        changes.put(keys::SERVED, &self.idle.serve(now));
    }

    pub(crate) fn load_served(&mut self, record: &[u8]) -> Result<(), DecodeError> {
        self.idle.load_served(record)
    }

    /// Gives a group other settings, by a person: however it was made, it is not automatic any more.
    pub(crate) fn update(&mut self, id: ConsumerGroupId, settings: GroupSettings, changes: &mut Changes) {
        let group = self.all.get_mut(&id).expect("the caller looked it up");
        group.settings = settings;
        self.changed += 1;
        if let Some(at) = group.automatic.take() {
            self.idle.unlist(id, at);
        }
        changes.put(keys::group(id), &group.record());
    }

    fn restore(&mut self, group: Group) -> Option<()> {
        if let Some(at) = group.automatic {
            self.idle.list(group.id, at);
        }
        let named = self.by_name.insert(group.name.clone(), group.id);
        let numbered = self.all.insert(group.id, group);
        (named.is_none() && numbered.is_none()).then_some(())
    }

    /// Takes a group's record in.
    pub(crate) fn load(&mut self, id: ConsumerGroupId, record: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new("consumer group", record);
        let name = GroupName::parse(reader.text()?).map_err(|_| reader.invalid())?;
        let settings = read_group_settings(&mut reader)?;
        let automatic =
            if reader.flag()? { Some(Use { acknowledged: reader.flag()?, until_ms: reader.u64()? }) } else { None };
        self.restore(Group { id, name, settings, automatic }).ok_or(reader.invalid())?;
        reader.finish()
    }
}
