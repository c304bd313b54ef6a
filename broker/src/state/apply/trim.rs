//! Trim: retention moves the readable start (hazards 23).
//!
//! Messages of entries below the start are no longer there for anybody: queues begin behind them, and groups that had
//! not taken them lose them (their backlog expires). What a group has taken and not finished, and what is dead-lettered,
//! holds the start where it is until it is moved to the log's end (see `relocate`). A release moves the start too, for disks
//! that fill, and stops at the first message that somebody has yet to read (hazards 35).
//!
//! Moving the start is one comparison. The queues follow in a sweep, a bounded number of them with each command; until it has
//! come to a queue, whoever reads there passes over what lies below the start.

use raft_log::types::LogIndex;

use super::{Applying, Core};
use crate::model::{QueueId, TopicId};
use crate::state::changes::ONE_BY_ONE_MAX;
use crate::state::command::ReleaseTo;
use crate::state::fault::Fault;
use crate::state::index::{bases, first_from};
use crate::state::keys;
use crate::state::outcome::Outcome;
use crate::state::planted::{self, Bug};
use crate::state::retained::Sweep;
use crate::state::store::Store;
use crate::state::topics::Queue;

/// Queues that one sweep command looks at, and those that it moves: each costs some reads of the index.
pub(crate) const LOOKED_AT_MAX: usize = 256;
const MOVED_MAX: usize = 32;

impl Core {
    /// Moves the start up to `to`, or as far as nothing that is needed stands in the way.
    pub(super) fn trim(&mut self, to: LogIndex, applying: &mut Applying<'_>) -> Outcome {
        let to = to.min(applying.id.index);
        let before = self.retained;
        self.retained.asked = before.asked.max(to);
        let oldest = self.needed.oldest().filter(|_| !planted::is(Bug::NeededIgnored));
        self.retained.start = before.start.max(to.min(oldest.unwrap_or(to)));
        if self.retained != before {
            applying.changes.put(keys::RETAINED, &self.retained.encode());
            self.needed.forget_below(self.retained.start);
        }
        Outcome::Trimmed { start: self.retained.start }
    }

    /// Moves the start like a trim, up to where everybody has read as far as the leader saw; not at all if something became unread
    /// since (see [`unread`](crate::state::unread)).
    pub(super) fn release(&mut self, release: ReleaseTo, applying: &mut Applying<'_>) -> Outcome {
        let ReleaseTo { to, seen } = release;
        if self.retained.unread_again > seen {
            return Outcome::Trimmed { start: self.retained.start };
        }
        let to = to.min(seen.next());
        #[cfg(test)]
        self.assert_read(to, applying);
        self.trim(to, applying)
    }

    /// What a release rests on, and tests look at.
    #[cfg(test)]
    fn assert_read(&self, to: LogIndex, applying: &Applying<'_>) {
        if to > self.retained.start && self.open_blocks.is_empty() {
            let read = crate::state::unread::UnreadLook::all_read(self, applying.store, to);
            assert!(read.expect("the store reads"), "a release to {to} passes over what somebody has yet to read");
        }
    }

    /// A group came to a topic, or one was deleted: what everybody had read may be unread now.
    pub(super) fn note_unread_again(&mut self, applying: &mut Applying<'_>) {
        self.retained.unread_again = applying.id.index;
        applying.changes.put(keys::RETAINED, &self.retained.encode());
    }

    /// Lets the next queues follow the start.
    pub(super) fn sweep(&mut self, applying: &mut Applying<'_>) -> Result<Outcome, Fault> {
        let start = self.retained.start;
        if self.retained.swept >= start {
            return Ok(Outcome::Swept { more: false });
        }
        let first = Sweep { to: start, topic: TopicId(0), queue: QueueId(0) };
        let at = self.retained.sweep.unwrap_or(first);
        let (moved, next) = self.next_to_sweep(at, applying.store)?;
        for (topic, queue, range) in moved {
            self.move_first(topic, queue, range, applying)?;
        }
        self.retained.sweep = next;
        if next.is_none() {
            self.retained.swept = at.to;
        }
        applying.changes.put(keys::RETAINED, &self.retained.encode());
        Ok(Outcome::Swept { more: self.retained.swept < start })
    }

    /// The queues from `at` on that begin below the start, as they are to be, and where the next step goes on.
    #[expect(clippy::type_complexity, reason = "it has one caller")]
    fn next_to_sweep(
        &self,
        at: Sweep,
        store: &Store,
    ) -> Result<(Vec<(TopicId, QueueId, Queue)>, Option<Sweep>), Fault> {
        let start = if planted::is(Bug::SweepTooFar) { self.retained.asked } else { self.retained.start };
        let (looked_at_max, moved_max) = planted::sweep_of((LOOKED_AT_MAX, MOVED_MAX));
        let (mut looked, mut moved) = (0, Vec::new());
        // Dead letters hold the start, and their entries do not ascend along the queue.
        for topic in self.topics.from(at.topic).filter(|topic| !topic.name.is_dead_letter()) {
            let done = if topic.id == at.topic { at.queue.0 as usize } else { 0 };
            for (queue, range) in (0..).map(QueueId).zip(&topic.queues).skip(done) {
                if looked == looked_at_max || moved.len() == moved_max {
                    return Ok((moved, Some(Sweep { topic: topic.id, queue, ..at })));
                }
                looked += 1;
                let first = first_from(&self.recent, store, (topic.id, queue), *range, start)?;
                if first > range.first {
                    moved.push((topic.id, queue, Queue { first, ..*range }));
                }
            }
        }
        Ok((moved, None))
    }

    /// A queue begins later. Its groups learn of it when they look next; what they miss is counted now.
    fn move_first(
        &mut self,
        topic: TopicId,
        queue: QueueId,
        range: Queue,
        applying: &mut Applying<'_>,
    ) -> Result<(), Fault> {
        let of = self.topics.get_mut(topic).expect("found above");
        let before = std::mem::replace(&mut of.queues[queue.0 as usize], range);
        applying.changes.put(keys::queue(topic, queue), &range.encode());
        let gone = before.first..range.first;
        let blocks = bases(&self.recent, applying.store, (topic, queue), gone.clone(), ONE_BY_ONE_MAX + 1)?;
        let key = |base| keys::index(topic, queue, base);
        applying.changes.delete_keys(key(gone.start), key(gone.end), blocks.into_iter().map(key));
        self.counters.trimmed += range.first - before.first;
        for group in &of.subscribers {
            let taken = self.subscriptions[&(topic, *group)].taken(queue).expect("a queue of the topic");
            self.counters.expired_unread += range.first.saturating_sub(taken.max(before.first));
        }
        Ok(())
    }
}
