//! How far everybody has read, which a release of disk space goes by (hazards 35): looked for beside `apply`, in slices.
//!
//! ```text
//!   leader   look, look, ... at all queues, then at all tails ──► ReleaseTo(to, seen)
//!   log      ... seen ┃ entries meanwhile ┃ ReleaseTo ...          void if one of these made something unread again
//! ```
//! A message is unread while a group of its topic has not taken it, or has it in a tail; in a topic without groups, always.
//! **Invariant: when a release is applied, nothing unread lies before where it moves the start.** For between look and release
//! - what is published lies behind `seen`, the last entry that was applied when the look began, and a release goes no further;
//! - a message goes from its queue to a tail and from both to what is taken, never back. Queues are looked at before tails, so none
//!   gets by in between; what is taken and not finished has its count, which the release itself goes by;
//! - only a group that comes to a topic, and the deletion of the last that reads it, make unread what was not. Both say so
//!   ([`Retained::unread_again`](super::retained::Retained)), and whatever is to set a group back must say it too: a release that has
//!   not seen the last of them does nothing.

use raft_log::types::LogIndex;

use super::apply::{Core, TailReader};
use super::command::ReleaseTo;
use super::consumption::{FIRST_LANE, LaneKey};
use super::fault::Fault;
use super::index::{first_from, read_known_block};
use super::store::Store;
use super::topics::{Queue, Topic};
use crate::model::{ConsumerGroupId, QueueId, TopicId};

/// Queues, groups of theirs and tails that are looked at under one lock, about: of each, one record is read at most, or some of a
/// tail that retention has taken from.
const SLICE: usize = if cfg!(test) { 8 } else { 64 };

/// A look under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnreadLook {
    /// The last entry that was applied when it began.
    seen: LogIndex,
    /// Everybody has read what lies before, as far as it has come.
    to: LogIndex,
    next: Place,
}

/// What is looked at next.
#[derive(Clone, Copy, Debug)]
enum Place {
    Queue(TopicId, QueueId),
    Tail((TopicId, ConsumerGroupId), LaneKey),
    End,
}

const FIRST_TAIL: Place = Place::Tail((TopicId(0), ConsumerGroupId(0)), FIRST_LANE);

/// What a slice came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Looked {
    /// There is more to look at.
    Further(UnreadLook),
    /// So far may be released.
    Done(ReleaseTo),
    /// Nothing may, now.
    Nothing,
}

impl UnreadLook {
    /// Begins to look how far the start may move towards `to`.
    pub(crate) fn begin(core: &Core, to: LogIndex) -> Option<UnreadLook> {
        let seen = core.history.latest()?.applied.index;
        Some(UnreadLook { seen, to: to.min(seen.next()), next: Place::Queue(TopicId(0), QueueId(0)) })
    }

    /// Looks at the next.
    pub(crate) fn slice(mut self, core: &Core, store: &Store) -> Result<Looked, Fault> {
        let void = core.retained.unread_again > self.seen;
        if void || self.to <= core.retained.start {
            return Ok(Looked::Nothing);
        }
        let mut left = SLICE;
        if let Place::Queue(topic, queue) = self.next {
            self.next = self.queues(core, store, (topic, queue), &mut left)?.unwrap_or(FIRST_TAIL);
        }
        if let Place::Tail(of, lane) = self.next {
            self.next = self.tails(core, store, (of, lane), &mut left)?.unwrap_or(Place::End);
        }
        Ok(match self.next {
            Place::End => Looked::Done(ReleaseTo { to: self.to, seen: self.seen }),
            _ => Looked::Further(self),
        })
    }

    /// Looks at queues from one on; answers where that goes on, if it does not come to the end.
    fn queues(
        &mut self,
        core: &Core,
        store: &Store,
        from: (TopicId, QueueId),
        left: &mut usize,
    ) -> Result<Option<Place>, Fault> {
        // Dead letters hold the start by themselves.
        for topic in core.topics.from(from.0).filter(|topic| !topic.name.is_dead_letter()) {
            let done = if topic.id == from.0 { from.1.0 as usize } else { 0 };
            for (queue, range) in (0..).map(QueueId).zip(&topic.queues).skip(done) {
                if *left == 0 {
                    return Ok(Some(Place::Queue(topic.id, queue)));
                }
                *left = left.saturating_sub(1 + topic.subscribers.len());
                if let Some(unread) = first_unread(core, store, topic, (queue, *range))? {
                    self.to = self.to.min(unread);
                }
            }
        }
        Ok(None)
    }

    /// The same, of tails.
    fn tails(
        &mut self,
        core: &Core,
        store: &Store,
        from: ((TopicId, ConsumerGroupId), LaneKey),
        left: &mut usize,
    ) -> Result<Option<Place>, Fault> {
        let tails = TailReader { store, unwritten: &core.unwritten_tails, start: core.retained.start };
        for (key, of) in core.subscriptions.range(from.0..) {
            if *left == 0 {
                return Ok(Some(Place::Tail(*key, FIRST_LANE)));
            }
            *left -= 1;
            if core.unknown(key.0, key.1).is_some() {
                continue;
            }
            let lane = if *key == from.0 { from.1 } else { FIRST_LANE };
            for (lane, tail) in of.tailed(lane) {
                if *left == 0 {
                    return Ok(Some(Place::Tail(*key, lane)));
                }
                *left -= 1;
                if let Some(unread) = tails.oldest(of, lane, tail)? {
                    self.to = self.to.min(unread);
                }
            }
        }
        Ok(None)
    }

    /// Whether nothing unread lies before an entry, by a look at everything.
    #[cfg(test)]
    pub(crate) fn all_read(core: &Core, store: &Store, before: LogIndex) -> Result<bool, Fault> {
        let (mut look, mut left) = (UnreadLook { seen: before, to: before, next: Place::End }, usize::MAX);
        look.queues(core, store, (TopicId(0), QueueId(0)), &mut left)?;
        look.tails(core, store, ((TopicId(0), ConsumerGroupId(0)), FIRST_LANE), &mut left)?;
        Ok(look.to == before)
    }
}

/// The entry of the first message of a queue that a group has not taken; in a topic without groups, of the first of all.
fn first_unread(
    core: &Core,
    store: &Store,
    topic: &Topic,
    (queue, range): (QueueId, Queue),
) -> Result<Option<LogIndex>, Fault> {
    // What was deleted and is not erased yet reads nothing any more.
    let there = |group: &&ConsumerGroupId| core.groups.get(**group).is_some();
    let taken = |group: &ConsumerGroupId| core.subscriptions[&(topic.id, *group)].taken(queue);
    let readers = topic.subscribers.iter().filter(there);
    let mut offset = readers.filter_map(taken).min().unwrap_or(range.first).max(range.first);
    if core.retained.swept < core.retained.start {
        // What is gone is not unread, whether the sweep has come here or not.
        offset = offset.max(first_from(&core.recent, store, (topic.id, queue), range, core.retained.start)?);
    }
    if offset >= range.next {
        return Ok(None);
    }
    Ok(Some(read_known_block(&core.recent, store, (topic.id, queue), offset)?.index))
}
