//! Relocate: what is still needed moves to the log's end, so that the log behind it can go (hazards 23, 24).
//!
//! The leader appends a copy of the body and names who needs it and where each of them knows it to lie. Whoever still does gets the
//! new place; who does not any more is passed over, so it does not matter what was applied between the proposal and this.
//!
//! What waits for a consumer that does not come is moved once: its retention begins anew with its last delivery, and when that
//! is over it goes like every message that nobody read. What is with a consumer, and a dead letter, moves as often as it must.

use raft_log::types::LogIndex;

use super::{Applying, Core};
use crate::model::{Position, QueueId, TopicId};
use crate::state::command::{Holder, RelocateView};
use crate::state::consumption::{DeliveryKey, Pending, Phase};
use crate::state::fault::Fault;
use crate::state::index::{IndexBlock, read_known_block};
use crate::state::keys;
use crate::state::needed::Need;
use crate::state::outcome::Outcome;
use crate::state::planted::{self, Bug};

impl Core {
    pub(super) fn relocate(&mut self, relocate: &RelocateView, applying: &mut Applying<'_>) -> Result<Outcome, Fault> {
        let mut moved = 0;
        for body in &relocate.bodies {
            let to = Position { index: applying.id.index, offset: body.offset, length: body.from.length };
            for holder in &body.holders {
                moved += u32::from(match *holder {
                    Holder::Delivery(key) => self.relocate_delivery(key, body.from, to, applying)?,
                    Holder::DeadLetter { topic, offset } => {
                        self.relocate_dead_letter(topic, offset, body.from, to, applying)?
                    }
                });
            }
        }
        self.counters.relocated += u64::from(moved);
        Ok(Outcome::Relocated(moved))
    }

    fn relocate_delivery(
        &mut self,
        key: DeliveryKey,
        from: Position,
        to: Position,
        applying: &mut Applying<'_>,
    ) -> Result<bool, Fault> {
        let Some(subscription) = self.subscriptions.get(&(key.topic, key.group)) else { return Ok(false) };
        let pending = subscription.pending(key.queue, key.offset).copied();
        let there = |pending: &Pending| pending.message.position == from || planted::is(Bug::StaleMove);
        let Some(mut pending) = pending.filter(there) else { return Ok(false) };
        let waits = matches!(pending.phase, Phase::Due | Phase::Waiting);
        if waits && pending.moved {
            self.set_pending(key, None, applying)?;
            applying.available.insert(key.topic);
            self.counters.expired_unread += 1;
            return Ok(false);
        }
        pending.moved = waits;
        pending.message.position = to;
        self.set_pending(key, Some(pending), applying)?;
        Ok(true)
    }

    fn relocate_dead_letter(
        &mut self,
        topic: TopicId,
        offset: u64,
        from: Position,
        to: Position,
        applying: &mut Applying<'_>,
    ) -> Result<bool, Fault> {
        let queue = QueueId(0);
        let known = self.topics.get(topic).filter(|of| of.name.is_dead_letter());
        let Some(range) = known.and_then(|of| of.queue(queue)) else { return Ok(false) };
        if !(range.first..range.next).contains(&offset) {
            return Ok(false);
        }
        let block = read_known_block(&self.recent, applying.store, (topic, queue), offset)?;
        let mut message = *block.message(offset).expect("the block of this message");
        if block.position(&message) != from {
            return Ok(false);
        }
        (message.offset, message.length) = (to.offset, to.length);
        self.forget_dead_letter(from.index, topic, offset, applying);
        let dead = IndexBlock { index: to.index, messages: vec![message], marks: block.marks.clone(), ..*block };
        self.keep_dead_letter(topic, queue, dead, applying);
        Ok(true)
    }

    /// Writes the index of a dead letter, which stands alone in its block.
    pub(super) fn keep_dead_letter(
        &mut self,
        topic: TopicId,
        queue: QueueId,
        block: IndexBlock,
        applying: &mut Applying<'_>,
    ) {
        assert_eq!(block.messages.len(), 1, "a dead letter stands alone");
        let mut record = Vec::new();
        block.encode(&mut record);
        applying.changes.put(keys::index(topic, queue, block.base), &record);
        applying.changes.put(keys::dead_letter(block.index, topic, block.base), &[]);
        self.needed.add(Need::DeadLetter, block.index);
        self.recent.replace(topic, queue, block);
    }

    /// A dead letter does not lie in this entry any more.
    pub(super) fn forget_dead_letter(
        &mut self,
        index: LogIndex,
        topic: TopicId,
        offset: u64,
        applying: &mut Applying<'_>,
    ) {
        applying.changes.delete(keys::dead_letter(index, topic, offset));
        self.needed.remove(Need::DeadLetter, index);
    }
}
