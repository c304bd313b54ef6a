//! Names of deleted consumer groups, which no subscription takes by itself for a while.
//!
//! A consumer that still polls for a group that was deleted would make it anew, at the first retained message, and get again
//! everything that the group was done with. So the name is refused to automatic creation for as long as such a message
//! may be there; a person who makes the group gets it at once.

use std::collections::{BTreeMap, BTreeSet};

use raft_log::types::UnixMillis;

use super::changes::Changes;
use super::codec::{DecodeError, Reader};
use super::keys;
use crate::model::GroupName;

/// Names that are remembered at once.
pub(crate) const BURIED_MAX: usize = if cfg!(test) { 8 } else { 100_000 };
/// Names that one deletion forgets.
const FORGOTTEN_AT_ONCE: usize = 4;

/// The names. Invariant: `by_time` holds each name once, at its time.
#[derive(Debug, Default)]
pub(crate) struct Buried {
    until: BTreeMap<GroupName, UnixMillis>,
    by_time: BTreeSet<(UnixMillis, GroupName)>,
}

impl Buried {
    /// Whether the name is refused to automatic creation at this time.
    pub(crate) fn refuses(&self, name: &str, now: UnixMillis) -> bool {
        self.until.get(name).is_some_and(|until| now < *until)
    }

    /// Makes room for a name by forgetting some whose time is over; false if there is none.
    pub(crate) fn make_room(&mut self, now: UnixMillis, changes: &mut Changes) -> bool {
        for _ in 0..FORGOTTEN_AT_ONCE {
            match self.by_time.first().cloned() {
                Some((until, name)) if until <= now => self.forget(&name, changes),
                _ => break,
            }
        }
        self.until.len() < BURIED_MAX
    }

    /// Refuses the name from now on; there is room.
    pub(crate) fn add(&mut self, name: GroupName, until: UnixMillis, changes: &mut Changes) {
        self.forget(&name, changes);
        changes.put(keys::buried(&name), &until.0.to_le_bytes());
        self.insert(name, until);
    }

    /// The name is as good as new.
    pub(crate) fn forget(&mut self, name: &GroupName, changes: &mut Changes) {
        if let Some(until) = self.until.remove(name) {
            self.by_time.remove(&(until, name.clone()));
            changes.delete(keys::buried(name));
        }
    }

    fn insert(&mut self, name: GroupName, until: UnixMillis) {
        self.by_time.insert((until, name.clone()));
        self.until.insert(name, until);
    }

    pub(crate) fn load(&mut self, name: &[u8], record: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new("name of a deleted group", record);
        let name = std::str::from_utf8(name).ok().and_then(|name| GroupName::parse(name).ok());
        let (name, until) = (name.ok_or(reader.invalid())?, UnixMillis(reader.u64()?));
        self.insert(name, until);
        reader.finish()
    }
}
