//! Sets of deliveries, each under a rank such as its deadline, ordered by rank and then by delivery.
//!
//! ```text
//!   rank, topic, group, queue │ begun at │ from ..= to
//!   12:00:30.000  1  7  3     │   100    │  104 ..= 131      acknowledged up to 103
//!   12:00:30.000  1  7  4     │    88    │   88 ..= 119
//! ```
//! What one receive hands out of a queue has one deadline and offsets in a row, and mostly goes in that order too: it is one run, which
//! grows and shrinks in its place. A set of single deliveries cost the state machine a fifth of all that it does.

use std::collections::BTreeMap;

use super::pending::DeliveryKey;
use crate::model::{ConsumerGroupId, QueueId, TopicId};

/// By what runs are ordered. The last one is the offset at which the run began, of which it may have lost the first ones.
type Place<R> = (R, TopicId, ConsumerGroupId, QueueId, u64);

/// Offsets from the first to the last.
#[derive(Clone, Copy, Debug)]
struct Run {
    from: u64,
    to: u64,
}

/// Invariants: no run is empty; each lies before the one that follows, and not before its own place.
#[derive(Debug)]
pub(super) struct Runs<R> {
    runs: BTreeMap<Place<R>, Run>,
}

impl<R> Default for Runs<R> {
    fn default() -> Runs<R> {
        Runs { runs: BTreeMap::new() }
    }
}

fn place<R>(rank: R, key: DeliveryKey) -> Place<R> {
    (rank, key.topic, key.group, key.queue, key.offset)
}

fn first<R: Copy>(place: &Place<R>, run: &Run) -> (R, DeliveryKey) {
    let (rank, topic, group, queue, _) = *place;
    (rank, DeliveryKey { topic, group, queue, offset: run.from })
}

impl<R: Copy + Ord> Runs<R> {
    /// Adds a delivery; false if it is there.
    pub(super) fn insert(&mut self, rank: R, key: DeliveryKey) -> bool {
        let (at, offset) = (place(rank, key), key.offset);
        let Some((before, run)) = self.before(&at) else {
            self.runs.insert(at, Run { from: offset, to: offset });
            return true;
        };
        if (run.from..=run.to).contains(&offset) {
            return false;
        }
        if offset == run.to.wrapping_add(1) {
            run.to = offset;
            return true;
        }
        if offset < run.from {
            // It lost this one before. From now on it begins where it does.
            let run = *run;
            self.runs.remove(&before);
            let DeliveryKey { topic, group, queue, .. } = key;
            self.runs.insert((rank, topic, group, queue, run.from), run);
        }
        self.runs.insert(at, Run { from: offset, to: offset });
        true
    }

    /// Takes a delivery away; false if it is not there.
    pub(super) fn remove(&mut self, rank: R, key: DeliveryKey) -> bool {
        let (at, offset) = (place(rank, key), key.offset);
        let Some((before, run)) = self.before(&at).filter(|(_, run)| (run.from..=run.to).contains(&offset)) else {
            return false;
        };
        match (run.from == offset, run.to == offset) {
            (true, true) => drop(self.runs.remove(&before)),
            (true, false) => run.from += 1,
            (false, true) => run.to -= 1,
            (false, false) => {
                let rest = Run { from: offset + 1, to: run.to };
                run.to = offset - 1;
                let DeliveryKey { topic, group, queue, .. } = key;
                self.runs.insert((rank, topic, group, queue, rest.from), rest);
            }
        }
        true
    }

    /// The run of the same rank and queue that begins here or before, nearest to it.
    fn before(&mut self, at: &Place<R>) -> Option<(Place<R>, &mut Run)> {
        let (before, run) = self.runs.range_mut(..=*at).next_back()?;
        ((before.0, before.1, before.2, before.3) == (at.0, at.1, at.2, at.3)).then_some((*before, run))
    }

    /// The first of all.
    pub(super) fn first(&self) -> Option<(R, DeliveryKey)> {
        self.runs.first_key_value().map(|(place, run)| first(place, run))
    }

    /// The first of this rank or a later one.
    pub(super) fn first_from(&self, rank: R) -> Option<(R, DeliveryKey)> {
        self.runs.range(place(rank, DeliveryKey::FIRST)..).next().map(|(place, run)| first(place, run))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn key(queue: u32, offset: u64) -> DeliveryKey {
        DeliveryKey { topic: TopicId(1), group: ConsumerGroupId(2), queue: QueueId(queue), offset }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// So many in a row.
        Insert(u8, u32, u64, u64),
        Remove(u8, u32, u64),
        RemoveFirst,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_u8..3, 0_u32..2, 0_u64..60, 1_u64..8).prop_map(|(rank, queue, at, count)| Step::Insert(rank, queue, at, count)),
            4 => (0_u8..3, 0_u32..2, 0_u64..60).prop_map(|(rank, queue, at)| Step::Remove(rank, queue, at)),
            4 => Just(Step::RemoveFirst),
        ]
    }

    proptest! {
        #[test]
        fn they_are_a_set(steps in prop::collection::vec(step(), 1..300)) {
            let (mut runs, mut model) = (Runs::default(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Insert(rank, queue, at, count) => {
                        for offset in at..at + count {
                            let new = model.insert((rank, key(queue, offset)));
                            prop_assert_eq!(runs.insert(rank, key(queue, offset)), new);
                        }
                    }
                    Step::Remove(rank, queue, at) => {
                        let there = model.remove(&(rank, key(queue, at)));
                        prop_assert_eq!(runs.remove(rank, key(queue, at)), there);
                    }
                    Step::RemoveFirst => {
                        if let Some((rank, key)) = model.pop_first() {
                            prop_assert!(runs.remove(rank, key));
                        }
                    }
                }
                prop_assert_eq!(runs.first(), model.first().copied());
                for rank in 0..3 {
                    let first = model.range((rank, DeliveryKey::FIRST)..).next();
                    prop_assert_eq!(runs.first_from(rank), first.copied());
                }
            }
            let all = runs.runs.iter().flat_map(|(place, run)| (run.from..=run.to).map(|offset| (place.0, key(place.3.0, offset))));
            prop_assert_eq!(all.collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_handed_out_in_a_row_and_goes_in_order_is_one_run_all_the_time() {
        let mut runs = Runs::default();
        assert!((10..1000).all(|offset| runs.insert(5, key(0, offset)) && runs.runs.len() == 1));
        assert!((10..1000).all(|offset| runs.runs.len() == 1 && runs.remove(5, key(0, offset))));
        assert!(runs.runs.is_empty());
    }
}
