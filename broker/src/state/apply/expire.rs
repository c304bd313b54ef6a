//! What happens when time passes: messages come again, or go to the dead letters.
//!
//! Only a tick does it, and each does so much and no more; the leader proposes the next while something is left over. So however
//! much comes due at the same moment, no entry holds the others up.

use super::{Applying, Core};
use crate::model::{GroupName, Position, QueueId, QueueOffset, TopicId, TopicName, TopicSettings, TopicType};
use crate::state::consumption::{DeliveryKey, Pending};
use crate::state::fault::Fault;
use crate::state::index::{IndexBlock, IndexedMessage};
use crate::state::outcome::{Origin, Outcome};
use crate::state::planted;

/// Deliveries and leases that one tick ends.
pub(crate) const EXPIRED_MAX: usize = 1024;
/// Messages that one tick dead-letters.
pub(crate) const DEAD_LETTERS_MAX: usize = 128;

impl Core {
    /// Takes up what is due at the state's clock, the longest due first.
    pub(super) fn tick(&mut self, applying: &mut Applying<'_>) -> Result<Outcome, Fault> {
        let (expired_max, dead_letters_max) = planted::tick_of((EXPIRED_MAX, DEAD_LETTERS_MAX));
        for _ in 0..expired_max {
            let Some(key) = self.timers.expired(self.clock) else {
                match self.leases.end(self.clock, applying.changes) {
                    Some(lease) => self.timers.end_lease(lease),
                    None => break,
                }
                continue;
            };
            let subscription = self.subscriptions.get(&(key.topic, key.group)).expect("timers are of subscriptions");
            let pending = *subscription.pending(key.queue, key.offset).expect("timers are of pending messages");
            self.end_delivery(key, pending, applying)?;
        }
        for _ in 0..dead_letters_max {
            let Some(key) = self.timers.exhausted() else { break };
            self.dead_letter(key, applying)?;
        }
        Ok(Outcome::Ticked)
    }

    /// A delivery is over, without an acknowledgement.
    fn end_delivery(&mut self, key: DeliveryKey, pending: Pending, applying: &mut Applying<'_>) -> Result<(), Fault> {
        let Some(group) = self.groups.get(key.group) else {
            // What was deleted is not delivered again.
            return self.set_pending(key, None, applying);
        };
        let pending = pending.over(group.settings.max_attempts);
        applying.available.insert(key.topic);
        self.set_pending(key, Some(pending), applying)
    }

    /// A consumer ends its delivery itself: nobody has to wait for a tick.
    pub(super) fn give_back(
        &mut self,
        key: DeliveryKey,
        pending: Pending,
        applying: &mut Applying<'_>,
    ) -> Result<(), Fault> {
        self.end_delivery(key, pending, applying)?;
        if self.timers.is_exhausted(key) { self.dead_letter(key, applying) } else { Ok(()) }
    }

    /// Moves a message to its group's dead letters: an index entry at the same log position, no copy.
    pub(super) fn dead_letter(&mut self, key: DeliveryKey, applying: &mut Applying<'_>) -> Result<(), Fault> {
        if self.unknown(key.topic, key.group).is_some() {
            // What was deleted leaves no dead letters.
            return self.set_pending(key, None, applying);
        }
        // It adds to a queue beside what is published there.
        self.close_blocks(applying);
        let subscription = self.subscriptions.get(&(key.topic, key.group)).expect("timers are of subscriptions");
        let message = subscription.pending(key.queue, key.offset).expect("timers are of pending messages").message;
        let to = self.dead_letter_topic(key, applying);
        let origin = Origin { topic: key.topic, queue: key.queue, offset: QueueOffset(key.offset) };
        let topic = self.topics.get_mut(to).expect("found or made above");
        let base = topic.queues[0].next;
        topic.queues[0].next += 1;
        let Position { index, offset, length } = message.position;
        let dead = IndexBlock {
            base,
            index,
            stamp: self.clock,
            messages: vec![IndexedMessage { group: message.group, tag: message.tag, offset, length }],
            // Whoever looks at it finds them in the message; by none of them is a dead letter delivered.
            marks: Vec::new(),
            origin: Some(message.origin.unwrap_or(origin)),
        };
        self.keep_dead_letter(to, QueueId(0), dead, applying);
        applying.available.insert(to);
        applying.available.insert(key.topic);
        self.counters.dead_lettered += 1;
        *applying.dead_lettered.entry((applying.id.term, key.topic, key.group)).or_default() += 1;
        self.set_pending(key, None, applying)
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
        self.add_topic(name, settings, applying)
    }
}
