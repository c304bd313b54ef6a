//! Consumer groups: the working set and its records.

use std::collections::BTreeMap;

use bytes::BytesMut;

use super::changes::Changes;
use super::codec::{DecodeError, Reader, put_text};
use super::command::{put_group_settings, read_group_settings};
use super::ids::NextIds;
use super::keys;
use crate::model::{ConsumerGroupId, GroupName, GroupSettings};

/// Consumer groups of a broker group.
pub(crate) const GROUPS_MAX: usize = 100_000;

/// All groups, by number and by name.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    all: BTreeMap<ConsumerGroupId, Group>,
    by_name: BTreeMap<GroupName, ConsumerGroupId>,
}

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: ConsumerGroupId,
    pub(crate) name: GroupName,
    pub(crate) settings: GroupSettings,
    pub(crate) automatic: bool,
}

impl Groups {
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
        let mut record = BytesMut::with_capacity(64);
        put_text(&mut record, name.as_str());
        put_group_settings(&mut record, &settings);
        record.extend_from_slice(&[u8::from(automatic)]);
        changes.put(keys::group(id), &record);
        self.restore(Group { id, name, settings, automatic }).expect("a new number, and the name was looked up");
        id
    }

    fn restore(&mut self, group: Group) -> Option<()> {
        let named = self.by_name.insert(group.name.clone(), group.id);
        let numbered = self.all.insert(group.id, group);
        (named.is_none() && numbered.is_none()).then_some(())
    }

    /// Takes a group's record in.
    pub(crate) fn load(&mut self, id: ConsumerGroupId, record: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new("consumer group", record);
        let name = GroupName::parse(reader.text()?).map_err(|_| reader.invalid())?;
        let settings = read_group_settings(&mut reader)?;
        let automatic = reader.flag()?;
        self.restore(Group { id, name, settings, automatic }).ok_or(reader.invalid())?;
        reader.finish()
    }
}
