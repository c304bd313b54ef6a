//! Bootstrap, topics, groups.

use bytes::BytesMut;

use super::{Applying, Core};
use crate::model::{TopicId, TopicName, TopicSettings};
use crate::state::command::{Bootstrap, CreateGroup, CreateTopic, RaiseLevel, UpdateGroup};
use crate::state::groups::GROUPS_MAX;
use crate::state::keys;
use crate::state::level::Level;
use crate::state::outcome::{Created, Outcome, UnknownName};
use crate::state::topics::{QUEUES_MAX, TOPICS_MAX};

impl Core {
    pub(super) fn bootstrap(&mut self, bootstrap: &Bootstrap, applying: &mut Applying<'_>) -> Outcome {
        if let Some(first) = &self.cluster {
            return Outcome::Bootstrapped { cluster: first.cluster, first: false };
        }
        let mut record = BytesMut::with_capacity(56);
        bootstrap.put(&mut record);
        applying.changes.put(keys::CLUSTER, &record);
        self.cluster = Some(bootstrap.clone());
        self.set_level(bootstrap.level, applying);
        Outcome::Bootstrapped { cluster: bootstrap.cluster, first: true }
    }

    /// A level never falls, and nothing is raised before there is something.
    pub(super) fn raise_level(&mut self, raise: RaiseLevel, applying: &mut Applying<'_>) -> Outcome {
        if self.cluster.is_some() && raise.to > self.level {
            self.set_level(raise.to, applying);
        }
        Outcome::Level(self.level)
    }

    fn set_level(&mut self, level: Level, applying: &mut Applying<'_>) {
        applying.changes.put(keys::LEVEL, &level.bytes());
        applying.changes.set_level(level);
        self.level = level;
    }

    pub(super) fn create_topic(&mut self, create: &CreateTopic, applying: &mut Applying<'_>) -> Outcome {
        Outcome::Topic(match self.topics.named(create.name.as_str()) {
            Some(topic) if topic.settings == create.settings => Created::Same(topic.id),
            Some(topic) => Created::Other(topic.id, topic.settings),
            None if !(1..=QUEUES_MAX).contains(&create.settings.queues) => Created::Refused,
            None if self.topics.len() >= TOPICS_MAX => Created::Refused,
            None if self.cluster.is_none() => Created::Unformed,
            None => {
                let id: TopicId = self.add_topic(create.name.clone(), create.settings, applying);
                applying.available.insert(id);
                Created::New(id)
            }
        })
    }

    /// Adds a topic that is not there, all of it in this group.
    pub(super) fn add_topic(
        &mut self,
        name: TopicName,
        settings: TopicSettings,
        applying: &mut Applying<'_>,
    ) -> TopicId {
        let group = self.cluster.as_ref().expect("before the bootstrap no topic is made").group;
        self.topics.create(name, settings, group, &mut self.ids, applying.changes)
    }

    pub(super) fn create_group(&mut self, create: &CreateGroup, applying: &mut Applying<'_>) -> Outcome {
        let name = create.name.as_str();
        let buried = create.automatic && self.buried.refuses(name, self.clock);
        if self.groups.named(name).is_none() && !buried && self.groups.len() >= GROUPS_MAX {
            self.bury_unused_group(applying);
        }
        Outcome::Group(match self.groups.named(name) {
            Some(group) if group.settings == create.settings => Created::Same(group.id),
            Some(group) => Created::Other(group.id, group.settings),
            None if buried => Created::Buried,
            None if create.settings.max_attempts == 0 || self.groups.len() >= GROUPS_MAX => Created::Refused,
            None => {
                self.buried.forget(&create.name, applying.changes);
                let (name, settings) = (create.name.clone(), create.settings);
                Created::New(self.groups.create(name, settings, create.automatic, &mut self.ids, applying.changes))
            }
        })
    }

    /// Settings live in the group alone, and what was decided by them stands in the records of what is pending: however
    /// much that is, this is one record.
    pub(super) fn update_group(&mut self, update: &UpdateGroup, applying: &mut Applying<'_>) -> Outcome {
        let Some(group) = self.groups.named(update.name.as_str()) else { return Outcome::Unknown(UnknownName::Group) };
        let (id, settings) = (group.id, update.change.of(group.settings));
        self.groups.update(id, settings, applying.changes);
        Outcome::GroupUpdated(settings)
    }
}
