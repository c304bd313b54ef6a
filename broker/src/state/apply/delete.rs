//! Deletions: a tombstone at once, and the erasure of what belonged to it in steps of a bounded size.

use super::{Applying, Core};
use crate::model::{ConsumerGroupId, QueueId, TopicId, TopicName};
use crate::state::command::{DeleteGroup, DeleteTopic, Erase, KeepGroups};
use crate::state::fault::Fault;
use crate::state::index::read_known_block;
use crate::state::keys;
use crate::state::outcome::{Deleted, Outcome, UnknownName};
use raft_log::types::UnixMillis;

/// Records that one command erases, whatever it asks for.
pub(crate) const ERASED_AT_ONCE_MAX: usize = 4096;
/// Groups that one command of the leader deletes because nobody uses them.
pub const IDLE_AT_ONCE_MAX: usize = if cfg!(test) { 4 } else { 256 };

impl Core {
    /// What of these does not exist (any longer).
    pub(crate) fn unknown(&self, topic: TopicId, group: ConsumerGroupId) -> Option<UnknownName> {
        if self.topics.get(topic).is_none() {
            Some(UnknownName::Topic)
        } else if self.groups.get(group).is_none() {
            Some(UnknownName::Group)
        } else {
            None
        }
    }

    pub(super) fn delete_topic(&mut self, delete: &DeleteTopic, applying: &mut Applying<'_>) -> Outcome {
        Outcome::Deleted(self.bury_topic(delete.topic, applying))
    }

    fn bury_topic(&mut self, topic: TopicId, applying: &mut Applying<'_>) -> Deleted {
        let Some(topic) = self.topics.remove(topic, applying.changes) else { return Deleted::Unknown };
        self.erasures.add_topic(topic.id, topic.settings.queues, applying.changes);
        if topic.name.is_dead_letter() {
            for (queue, range) in (0..).map(QueueId).zip(&topic.queues).filter(|(_, range)| range.first < range.next) {
                self.erasures.add_letters(topic.id, queue, *range, applying.changes);
            }
        }
        // Whoever waits for its messages waits in vain.
        applying.available.insert(topic.id);
        Deleted::Done
    }

    pub(super) fn delete_group(&mut self, delete: &DeleteGroup, applying: &mut Applying<'_>) -> Outcome {
        let Some(name) = self.groups.get(delete.group).map(|group| group.name.clone()) else {
            return Outcome::Deleted(Deleted::Unknown);
        };
        if !self.buried.make_room(self.clock, applying.changes) {
            return Outcome::Deleted(Deleted::Refused);
        }
        if delete.with_dead_letters
            && let Some(topic) = self.topics.named(TopicName::dead_letter_of(&name).as_str()).map(|topic| topic.id)
        {
            self.bury_topic(topic, applying);
        }
        let until = UnixMillis(self.clock.0.saturating_add(delete.refuse_ms));
        self.buried.add(name, until, applying.changes);
        self.bury_group(delete.group, applying);
        Outcome::Deleted(Deleted::Done)
    }

    fn bury_group(&mut self, group: ConsumerGroupId, applying: &mut Applying<'_>) {
        let group = self.groups.remove(group, applying.changes).expect("the caller looked it up");
        self.erasures.add_group(group.id, applying.changes);
        // What nobody reads now, everybody may.
        self.note_unread_again(applying);
    }

    /// Deletes the automatic group that makes room for another with the least harm: one that never acknowledged
    /// anything and is not in use.
    pub(super) fn bury_unused_group(&mut self, applying: &mut Applying<'_>) {
        if let Some(group) = self.groups.idle().longest(false, 1) {
            self.bury_group(group, applying);
        }
    }

    pub(super) fn keep_groups(&mut self, keep: &KeepGroups, applying: &mut Applying<'_>) -> Outcome {
        self.groups.serve(self.clock, applying.changes);
        keep.polled.iter().for_each(|group| self.groups.note_use(*group, 0, applying.changes));
        let mut deleted = 0;
        for (acknowledged, idle_ms) in [(false, keep.unused_ms), (true, keep.idle_ms)] {
            while deleted < IDLE_AT_ONCE_MAX
                && let Some(group) = self.groups.idle().longest(acknowledged, idle_ms)
            {
                self.bury_group(group, applying);
                deleted += 1;
            }
        }
        Outcome::GroupsKept { deleted: u32::try_from(deleted).expect("bounded above") }
    }

    /// Erases what was deleted, the oldest topic first.
    pub(super) fn erase(&mut self, erase: &Erase, applying: &mut Applying<'_>) -> Result<Outcome, Fault> {
        let mut budget = (erase.records as usize).min(ERASED_AT_ONCE_MAX);
        while budget > 0 {
            if let Some(topic) = self.erasures.first_topic() {
                self.erase_of_topic(topic, &mut budget, applying)?;
            } else if let Some(group) = self.erasures.first_group() {
                self.erase_of_group(group, &mut budget, applying);
            } else {
                break;
            }
        }
        Ok(Outcome::Erased { left: u32::try_from(self.erasures.len()).unwrap_or(u32::MAX) })
    }

    fn erase_of_topic(&mut self, topic: TopicId, budget: &mut usize, applying: &mut Applying<'_>) -> Result<(), Fault> {
        let of_topic = (topic, ConsumerGroupId(0))..=(topic, ConsumerGroupId(u64::MAX));
        if let Some((_, group)) = self.subscriptions.range(of_topic).next().map(|(key, _)| *key) {
            self.erase_subscription(topic, group, budget, applying);
            return Ok(());
        }
        self.erase_letters(topic, budget, applying)?;
        *budget -= self.producers.forget_topic(topic, *budget, applying.changes);
        if *budget == 0 {
            return Ok(());
        }
        // What only the store holds goes as ranges, which cost the same whatever lies in them.
        let next = TopicId(topic.0 + 1);
        applying.changes.delete_range(keys::topic_index(topic), keys::topic_index(next));
        applying.changes.delete_range(keys::topic_queues(topic), keys::topic_queues(next));
        self.erasures.finish_topic(topic, applying.changes);
        *budget -= 1;
        Ok(())
    }

    /// Dead letters hold the log where their bodies lie, so each is let go by itself, as long as the index is there.
    fn erase_letters(&mut self, topic: TopicId, budget: &mut usize, applying: &mut Applying<'_>) -> Result<(), Fault> {
        while *budget > 0
            && let Some((queue, mut range)) = self.erasures.letters_of(topic)
        {
            while *budget > 0 && range.first < range.next {
                let block = read_known_block(&self.recent, applying.store, (topic, queue), range.first)?;
                self.forget_dead_letter(block.index, topic, range.first, applying);
                range.first += 1;
                *budget -= 1;
            }
            if range.first < range.next {
                self.erasures.add_letters(topic, queue, range, applying.changes);
            } else {
                self.erasures.finish_letters(topic, queue, applying.changes);
            }
        }
        Ok(())
    }

    fn erase_of_group(&mut self, group: ConsumerGroupId, budget: &mut usize, applying: &mut Applying<'_>) {
        let of_group = (group, TopicId(0))..=(group, TopicId(u64::MAX));
        match self.topics_of_groups.range(of_group).next().map(|(_, topic)| *topic) {
            Some(topic) => self.erase_subscription(topic, group, budget, applying),
            None => {
                self.erasures.finish_group(group, applying.changes);
                *budget -= 1;
            }
        }
    }

    fn erase_subscription(
        &mut self,
        topic: TopicId,
        group: ConsumerGroupId,
        budget: &mut usize,
        applying: &mut Applying<'_>,
    ) {
        let subscription = self.subscriptions.get_mut(&(topic, group)).expect("listed by topic and by group");
        for (queue, offset) in subscription.some_pending(*budget) {
            let before = subscription.set(&mut self.timers, &mut self.needed, queue, offset, None);
            self.late.note(subscription.key(queue, offset), None, before, applying.changes);
            *budget -= 1;
        }
        // Those who wait for this group look again, and see that it is gone.
        applying.available.insert(topic);
        if *budget == 0 {
            return;
        }
        *budget -= 1;
        self.subscriptions.remove(&(topic, group));
        self.topics_of_groups.remove(&(group, topic));
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.unsubscribe(group);
        }
        let (first, last) = (QueueId(0), QueueId(u32::MAX));
        applying.changes.delete_range(keys::taken(group, topic, first), keys::taken(group, topic, last));
        let next = keys::tails_of(group, TopicId(topic.0 + 1));
        keys::tails_of(group, topic)
            .iter()
            .zip(next)
            .for_each(|(from, until)| applying.changes.delete_range(from, until));
        applying.changes.delete(keys::subscription(group, topic));
    }
}
