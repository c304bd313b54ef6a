//! What happens by itself when time passes: messages come again, or go to the dead letters.

use super::{Applying, Core};
use crate::model::{GroupName, QueueId, QueueOffset, TagId, TopicId, TopicName, TopicSettings, TopicType};
use crate::state::consumption::DeliveryKey;
use crate::state::fault::Fault;
use crate::state::index::{IndexBlock, IndexedMessage, read_block};
use crate::state::keys;
use crate::state::outcome::Origin;

/// Messages that are dead-lettered before one command; the rest follows with the next.
pub(crate) const DEAD_LETTERS_MAX: usize = 1000;

impl Core {
    /// Takes up everything that is due at the state's clock.
    pub(super) fn expire(&mut self, applying: &mut Applying<'_>) -> Result<(), Fault> {
        while let Some(key) = self.timers.expired(self.clock) {
            let subscription =
                self.subscriptions.get_mut(&(key.topic, key.group)).expect("timers are of subscriptions");
            let mut pending = *subscription.pending(key.queue, key.offset).expect("timers are of pending messages");
            pending.phase = pending.phase_at(self.clock, subscription.settings.max_attempts);
            subscription.set(&mut self.timers, key.queue, key.offset, Some(pending));
            applying.available.insert(key.topic);
        }
        for _ in 0..DEAD_LETTERS_MAX {
            let Some(key) = self.timers.exhausted() else { break };
            self.dead_letter(key, applying)?;
        }
        Ok(())
    }

    /// Moves a message to its group's dead letters: an index entry at the same log position, no copy.
    fn dead_letter(&mut self, key: DeliveryKey, applying: &mut Applying<'_>) -> Result<(), Fault> {
        let block = read_block(&self.recent, applying.store, (key.topic, key.queue), key.offset)?;
        let block = block.ok_or_else(|| {
            Fault::damaged(keys::index(key.topic, key.queue, key.offset).as_ref(), "no index of a pending message")
        })?;
        let message = *block.message(key.offset).expect("the block of this message");
        let tag = self.topics.get(key.topic).and_then(|topic| topic.tags.text(message.tag));
        let tag: Box<[u8]> = tag.map(Box::from).unwrap_or_default();
        let to = self.dead_letter_topic(key, applying);
        let origin = Origin { topic: key.topic, queue: key.queue, offset: QueueOffset(key.offset) };
        let topic = self.topics.get_mut(to).expect("found or made above");
        let tag = topic.intern(&tag, applying.changes).unwrap_or(TagId::NONE);
        let base = topic.queues[0].next;
        topic.queues[0].next += 1;
        let dead = IndexBlock {
            base,
            index: block.index,
            stamp: self.clock,
            messages: vec![IndexedMessage { tag, ..message }],
            origin: Some(block.origin.unwrap_or(origin)),
        };
        let mut record = Vec::new();
        dead.encode(&mut record);
        applying.changes.put(keys::index(to, QueueId(0), base), &record);
        self.recent.push(to, QueueId(0), dead);
        self.note_end(to, QueueId(0), base + 1);
        applying.available.insert(to);
        applying.available.insert(key.topic);
        let subscription = self.subscriptions.get_mut(&(key.topic, key.group)).expect("timers are of subscriptions");
        subscription.set(&mut self.timers, key.queue, key.offset, None);
        applying.changes.delete(keys::pending(key.group, key.topic, key.queue, key.offset));
        self.counters.dead_lettered += 1;
        self.hold_dead_letter(block.index, applying);
        Ok(())
    }

    /// The dead-letter topic of a delivery's group, made on demand beyond the limit on topics: a message is never lost
    /// to a limit.
    fn dead_letter_topic(&mut self, key: DeliveryKey, applying: &mut Applying<'_>) -> TopicId {
        let group: &GroupName = &self.groups.get(key.group).expect("deliveries are of groups").name;
        let name = TopicName::dead_letter_of(group);
        if let Some(topic) = self.topics.named(name.as_str()) {
            return topic.id;
        }
        let settings = TopicSettings { queues: 1, kind: TopicType::Normal };
        self.topics.create(name, settings, &mut self.ids, applying.changes)
    }
}
