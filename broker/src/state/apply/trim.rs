//! Trim: retention moves the readable start (hazards 23).
//!
//! Messages of entries below the start are no longer there for anybody: queues begin behind them, and groups that had
//! not taken them lose them (their backlog expires). What a group has taken and not finished, and what is dead-lettered,
//! holds the start where it is. A release moves it too, for disks that fill, and stops at the first message that somebody
//! has yet to read (hazards 35). Moving such messages to the log's end instead, so that they hold nothing, is not built
//! yet.

use raft_log::types::LogIndex;

use super::{Applying, Core};
use crate::model::{ConsumerGroupId, QueueId, TopicId};
use crate::state::fault::Fault;
use crate::state::index::{RecentBlocks, read_block};
use crate::state::keys;
use crate::state::outcome::Outcome;
use crate::state::retained::Retained;
use crate::state::store::Store;
use crate::state::topics::Queue;

impl Core {
    /// Moves the start up to `to`, or as far as nothing that is needed stands in the way.
    pub(super) fn trim(&mut self, to: LogIndex, applying: &mut Applying<'_>) -> Result<Outcome, Fault> {
        let held = self.held_at(applying.store)?;
        let start = to.min(applying.id.index).min(held.unwrap_or(to));
        if start > self.retained.start {
            self.retained.start = start;
            applying.changes.put(keys::RETAINED, &self.retained.encode());
            self.trim_queues(start, applying)?;
        }
        Ok(Outcome::Trimmed { start: self.retained.start })
    }

    /// Moves the start up to `to`, or as far as nothing stands in the way that is needed or has yet to be read.
    pub(super) fn release(&mut self, to: LogIndex, applying: &mut Applying<'_>) -> Result<Outcome, Fault> {
        let unread = self.unread_from(applying.store)?;
        self.trim(to.min(unread.unwrap_or(to)), applying)
    }

    /// The oldest entry with a message that a group has not taken; in a topic without groups, that is every message.
    fn unread_from(&self, store: &Store) -> Result<Option<LogIndex>, Fault> {
        let mut unread: Option<LogIndex> = None;
        // Dead letters hold the start by themselves.
        for topic in self.topics.all().filter(|topic| !topic.name.is_dead_letter()) {
            for (queue, range) in (0..).map(QueueId).zip(&topic.queues) {
                let taken = |group: &ConsumerGroupId| self.subscriptions[&(topic.id, *group)].taken(queue);
                let offset = topic.subscribers.iter().filter_map(taken).min().unwrap_or(range.first);
                if offset >= range.next {
                    continue;
                }
                let block = read_block(&self.recent, store, (topic.id, queue), offset)?.ok_or_else(|| {
                    Fault::damaged(keys::index(topic.id, queue, offset).as_ref(), "no index of an unread message")
                })?;
                unread = Some(unread.map_or(block.index, |unread| unread.min(block.index)));
            }
        }
        Ok(unread)
    }

    /// The oldest entry with a message that somebody still needs.
    fn held_at(&self, store: &Store) -> Result<Option<LogIndex>, Fault> {
        let mut held = self.retained.dead_letters_from;
        for ((topic, _), subscription) in &self.subscriptions {
            // Along a queue the entries ascend, so the oldest pending message is the one that lies deepest.
            for (queue, offset) in subscription.oldest_pending() {
                let block = read_block(&self.recent, store, (*topic, queue), offset)?.ok_or_else(|| {
                    Fault::damaged(keys::index(*topic, queue, offset).as_ref(), "no index of a pending message")
                })?;
                held = Some(held.map_or(block.index, |held| held.min(block.index)));
            }
        }
        Ok(held)
    }

    fn trim_queues(&mut self, start: LogIndex, applying: &mut Applying<'_>) -> Result<(), Fault> {
        let mut moved: Vec<(TopicId, QueueId, Queue)> = Vec::new();
        // Dead letters hold the start, and their entries do not ascend along the queue.
        for topic in self.topics.all().filter(|topic| !topic.name.is_dead_letter()) {
            for (queue, range) in (0..).map(QueueId).zip(&topic.queues) {
                let first = first_from(&self.recent, applying.store, (topic.id, queue), *range, start)?;
                if first > range.first {
                    moved.push((topic.id, queue, Queue { first, ..*range }));
                }
            }
        }
        for (topic, queue, range) in moved {
            self.move_first(topic, queue, range, applying);
        }
        Ok(())
    }

    fn move_first(&mut self, topic: TopicId, queue: QueueId, range: Queue, applying: &mut Applying<'_>) {
        let of = self.topics.get_mut(topic).expect("found above");
        let before = std::mem::replace(&mut of.queues[queue.0 as usize], range);
        applying.changes.put(keys::queue(topic, queue), &range.encode());
        applying.changes.delete_range(keys::index(topic, queue, 0), keys::index(topic, queue, range.first));
        self.counters.trimmed += range.first - before.first;
        for group in of.subscribers.clone() {
            let subscription = self.subscriptions.get_mut(&(topic, group)).expect("subscribers have subscriptions");
            let taken = subscription.taken(queue).expect("a queue of the topic");
            if taken < range.first {
                self.counters.expired_unread += range.first - taken;
                subscription.set_taken(queue, range.first);
                applying.changes.put(keys::taken(group, topic, queue), &range.first.to_le_bytes());
            }
        }
    }

    /// Dead letters lie in an entry that must stay.
    pub(super) fn hold_dead_letter(&mut self, index: LogIndex, applying: &mut Applying<'_>) {
        if self.retained.dead_letters_from.is_none_or(|from| index < from) {
            self.retained.dead_letters_from = Some(index);
            applying.changes.put(keys::RETAINED, &Retained::encode(&self.retained));
        }
    }
}

/// The first offset of a queue whose message lies in an entry at or above `start`; its end if there is none. A binary
/// search: entries ascend along a queue.
fn first_from(
    recent: &RecentBlocks,
    store: &Store,
    queue: (TopicId, QueueId),
    range: Queue,
    start: LogIndex,
) -> Result<u64, Fault> {
    let (mut low, mut high) = (range.first, range.next);
    while low < high {
        // The beginning first: most queues have nothing to trim.
        let at = if low == range.first && high == range.next { low } else { low + (high - low) / 2 };
        let block = read_block(recent, store, queue, at)?
            .ok_or_else(|| Fault::damaged(keys::index(queue.0, queue.1, at).as_ref(), "no index of a message"))?;
        if block.index < start {
            low = block.end();
        } else {
            high = block.base.max(low);
        }
    }
    Ok(low)
}
