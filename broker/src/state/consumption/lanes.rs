//! Message groups of a FIFO group: one lane each, of what is pending, in the order of the queue.
//!
//! A lane is blocked while any of its messages is with a consumer, so that nobody gets a later message before the
//! earlier ones are settled. Other lanes go on: a stuck key never stops the others.

use std::collections::{BTreeMap, BTreeSet};

use super::pending::Pending;
use super::tail::Tail;
use crate::model::{MessageGroupKey, QueueId};

/// Lanes are kept per queue: a message group stays in its queue, and offsets of two queues have no order.
pub(crate) type LaneKey = (QueueId, MessageGroupKey);

/// Before or at all others.
pub(crate) const FIRST_LANE: LaneKey = (QueueId(0), MessageGroupKey(0));

#[derive(Debug, Default)]
struct Lane {
    offsets: BTreeSet<u64>,
    blockers: usize,
    /// What waits behind those.
    tail: Option<Tail>,
}

/// The lanes of a subscription. Invariant: a lane stands in `open`, at its lowest offset, iff nothing blocks it.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<LaneKey, Lane>,
    open: BTreeSet<(u64, LaneKey)>,
    /// Those with a tail, and how many messages are in all tails.
    tailed: BTreeSet<LaneKey>,
    in_tails: u64,
}

impl Lanes {
    pub(super) fn list(&mut self, queue: QueueId, offset: u64, pending: &Pending) {
        self.change((queue, pending.message.group), |lane| {
            assert!(lane.offsets.insert(offset), "a message stands once in its lane");
            lane.blockers += usize::from(pending.blocks());
        });
    }

    pub(super) fn unlist(&mut self, queue: QueueId, offset: u64, pending: &Pending) {
        self.change((queue, pending.message.group), |lane| {
            assert!(lane.offsets.remove(&offset), "a pending message stands in its lane");
            lane.blockers -= usize::from(pending.blocks());
        });
    }

    fn change(&mut self, key: LaneKey, change: impl FnOnce(&mut Lane)) {
        let lane = self.lanes.entry(key).or_default();
        if lane.blockers == 0
            && let Some(head) = lane.offsets.first()
        {
            self.open.remove(&(*head, key));
        }
        change(lane);
        match lane.offsets.first() {
            None if lane.tail.is_none() => {
                self.lanes.remove(&key);
            }
            Some(head) if lane.blockers == 0 => {
                self.open.insert((*head, key));
            }
            _ => {}
        }
    }

    pub(super) fn tail(&self, key: LaneKey) -> Option<Tail> {
        self.lanes.get(&key)?.tail
    }

    pub(super) fn set_tail(&mut self, key: LaneKey, tail: Option<Tail>) {
        let len = |tail: Option<Tail>| tail.map_or(0, |tail| tail.len());
        let before = self.tail(key);
        self.in_tails = self.in_tails + len(tail) - len(before);
        match tail {
            Some(_) => self.tailed.insert(key),
            None => self.tailed.remove(&key),
        };
        self.change(key, |lane| lane.tail = tail);
    }

    /// Whether a lane has a tail and nothing before it.
    pub(super) fn only_tail(&self, key: LaneKey) -> bool {
        self.lanes.get(&key).is_some_and(|lane| lane.offsets.is_empty() && lane.tail.is_some())
    }

    /// Lanes with a tail, from one on.
    pub(super) fn tailed(&self, from: LaneKey) -> impl Iterator<Item = (LaneKey, Tail)> + '_ {
        self.tailed.range(from..).map(|key| (*key, self.tail(*key).expect("it has one")))
    }

    /// How many messages of a queue are in tails.
    pub(super) fn in_tails_of(&self, queue: QueueId) -> u64 {
        let lanes = self.tailed.range((queue, MessageGroupKey(0))..=(queue, MessageGroupKey(u64::MAX)));
        lanes.filter_map(|key| self.tail(*key)).map(|tail| tail.len()).sum()
    }

    /// How many messages are in tails.
    pub(super) fn in_tails(&self) -> u64 {
        self.in_tails
    }

    pub(super) fn contains(&self, key: LaneKey) -> bool {
        self.lanes.contains_key(&key)
    }

    /// How many lanes have something to deliver.
    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Lanes with something to deliver, those with the lowest offsets first.
    pub(super) fn open(&self) -> impl Iterator<Item = LaneKey> + '_ {
        self.open.iter().map(|(_, key)| *key)
    }

    /// The lowest offset with which one of them begins.
    pub(super) fn first_open(&self) -> Option<(QueueId, u64)> {
        self.open.first().map(|(offset, (queue, _))| (*queue, *offset))
    }

    /// The first pending offsets of a lane, in order.
    pub(super) fn offsets(&self, key: LaneKey, count: usize) -> Vec<u64> {
        self.lanes.get(&key).map(|lane| lane.offsets.iter().take(count).copied().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::consumption::pending::{Phase, TakenMessage};

    #[test]
    fn a_lane_is_open_until_something_of_it_is_under_way() {
        let mut lanes = Lanes::default();
        let message = TakenMessage { group: MessageGroupKey(5), ..TakenMessage::default() };
        let waiting = Pending::waiting(message);
        let hidden = Pending { phase: Phase::Hidden, attempt: 1, ..waiting };
        let key = (QueueId(1), MessageGroupKey(5));
        lanes.list(QueueId(1), 3, &waiting);
        lanes.list(QueueId(1), 9, &waiting);
        assert_eq!(lanes.open().collect::<Vec<_>>(), [key]);
        lanes.unlist(QueueId(1), 3, &waiting);
        lanes.list(QueueId(1), 3, &hidden);
        assert_eq!((lanes.open_count(), lanes.offsets(key, 5)), (0, vec![3, 9]));
        lanes.unlist(QueueId(1), 3, &hidden);
        assert_eq!((lanes.open_count(), lanes.offsets(key, 5)), (1, vec![9]));
        lanes.unlist(QueueId(1), 9, &waiting);
        assert!(!lanes.contains(key));
        assert_eq!(lanes.open_count(), 0);
    }
}
