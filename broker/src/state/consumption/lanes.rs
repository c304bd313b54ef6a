//! Message groups of a FIFO group: one lane each, of what is pending, in the order of the queue.
//!
//! A lane is blocked while any of its messages is with a consumer, so that nobody gets a later message before the
//! earlier ones are settled. Other lanes go on: a stuck key never stops the others.

use std::collections::{BTreeMap, BTreeSet};

use super::pending::Pending;
use crate::model::{MessageGroupKey, QueueId};

/// Lanes are kept per queue: a message group stays in its queue, and offsets of two queues have no order.
pub(crate) type LaneKey = (QueueId, MessageGroupKey);

#[derive(Debug, Default)]
struct Lane {
    offsets: BTreeSet<u64>,
    blockers: usize,
}

/// The lanes of a subscription. Invariant: a lane stands in `open`, at its lowest offset, iff nothing blocks it.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<LaneKey, Lane>,
    open: BTreeSet<(u64, LaneKey)>,
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
            None => {
                self.lanes.remove(&key);
            }
            Some(head) if lane.blockers == 0 => {
                self.open.insert((*head, key));
            }
            Some(_) => {}
        }
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
