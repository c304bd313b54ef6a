//! How far a group has come in a topic, beside what was delivered to it.
//!
//! ```text
//!   offsets of a queue     0 ────────────────────────── taken ──────────► end
//!                          delivered, done without a      fresh
//!                          delivery, or waiting
//! ```
//! What lies below `taken` and was neither delivered nor waits is done with for ever: the filter of the receive that passed it did
//! not want it, or retention had taken it by then.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::QueueId;

/// A message group of a queue.
pub(super) type Lane = (QueueId, &'static str);

/// How far a receive went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Walk {
    /// Behind the last fresh message of each queue that it passed.
    pub(super) taken: Vec<(QueueId, u64)>,
    /// Fresh messages that wait from now on.
    pub(super) held: Vec<(Lane, u64)>,
    /// What waited before these offsets does not any more.
    pub(super) popped: Vec<(Lane, u64)>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    taken: BTreeMap<QueueId, u64>,
    /// Messages that wait for their message group; those below the readable start are not there any more.
    waiting: BTreeMap<Lane, BTreeSet<u64>>,
    /// The last message of each message group that was given while the group kept the order.
    reached: BTreeMap<Lane, u64>,
}

impl Progress {
    /// Behind the last message of a queue that the group has passed, for whatever reason.
    pub(super) fn taken(&self, queue: QueueId) -> u64 {
        self.taken.get(&queue).copied().unwrap_or(0)
    }

    pub(super) fn waits(&self, lane: Lane, offset: u64) -> bool {
        self.waiting.get(&lane).is_some_and(|waiting| waiting.contains(&offset))
    }

    /// All that wait, those of a message group in their order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (Lane, u64)> {
        self.waiting.iter().flat_map(|(lane, offsets)| offsets.iter().map(|offset| (*lane, *offset)))
    }

    pub(super) fn reached(&self, lane: Lane) -> Option<u64> {
        self.reached.get(&lane).copied()
    }

    /// A receive went so far.
    pub(super) fn follow(&mut self, walk: &Walk) {
        self.taken.extend(walk.taken.iter().copied());
        for (lane, offset) in &walk.held {
            self.waiting.entry(*lane).or_default().insert(*offset);
        }
        for (lane, end) in &walk.popped {
            self.keep_waiting(*lane, |offset| offset >= *end);
        }
    }

    /// A message of a message group is given in its order.
    pub(super) fn reach(&mut self, lane: Lane, offset: u64) {
        let reached = self.reached.entry(lane).or_default();
        *reached = offset.max(*reached);
    }

    /// Takes the first out of what waits that is `there`, and all before it.
    pub(super) fn next_of(&mut self, lane: Lane, there: impl Fn(u64) -> bool) -> Option<u64> {
        let next = self.waiting.get(&lane)?.iter().copied().find(|offset| there(*offset));
        self.keep_waiting(lane, |offset| next.is_some_and(|next| offset > next));
        next
    }

    fn keep_waiting(&mut self, lane: Lane, keep: impl Fn(u64) -> bool) {
        let Some(waiting) = self.waiting.get_mut(&lane) else { return };
        waiting.retain(|offset| keep(*offset));
        if waiting.is_empty() {
            self.waiting.remove(&lane);
        }
    }
}
