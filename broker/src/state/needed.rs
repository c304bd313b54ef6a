//! How many records need the bodies in each stretch of the log: what holds its start (hazards 23).
//!
//! ```text
//!   log      ┃ stretch ┃ stretch ┃ stretch ┃ ...        each of so many bytes of entries
//!   count        0         2         0                  deliveries under way and dead letters whose bodies lie in it
//!                          ▲ the start goes no further
//! ```
//! So the oldest needed place is known without a look at queues and groups. A record counts once, in the stretch that holds its
//! body, and moves its count when its body is moved. Stretches are cut by applied bytes and never by segment files, which
//! differ between replicas (state-hazards 2, 17).
//!
//! Counts of deliveries follow from their records, which are all in memory; those of dead letters are kept in the store.

use std::collections::{BTreeMap, BTreeSet};

use raft_log::types::LogIndex;

use super::changes::Changes;
use super::keys;

/// Bytes of entries in a stretch; the last entry may lead beyond. In tests each entry is one.
const STRETCH_BYTES: u64 = if cfg!(test) { 1 } else { 16 << 20 };

/// What a record is that needs a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Delivery,
    DeadLetter,
}

/// How many records need bodies somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages that groups have taken and not finished.
    pub(crate) deliveries: u64,
    pub(crate) dead_letters: u64,
}

impl Counts {
    fn of(&mut self, need: Need) -> &mut u64 {
        match need {
            Need::Delivery => &mut self.deliveries,
            Need::DeadLetter => &mut self.dead_letters,
        }
    }

    pub(crate) fn none(self) -> bool {
        self == Counts::default()
    }

    fn all(self) -> u64 {
        self.deliveries + self.dead_letters
    }

    fn with(self, other: Counts) -> Counts {
        let Counts { deliveries, dead_letters } = other;
        Counts { deliveries: self.deliveries + deliveries, dead_letters: self.dead_letters + dead_letters }
    }
}

/// See the module. Invariant: from the readable start on, every entry lies in a stretch.
#[derive(Debug, Default)]
pub(crate) struct Needed {
    /// By the first entry.
    stretches: BTreeMap<LogIndex, Counts>,
    /// Bytes in the last stretch.
    filled: u64,
    /// Those with another count of dead letters than the store has.
    changed: BTreeSet<LogIndex>,
}

impl Needed {
    /// An entry begins, of so many bytes.
    pub(crate) fn begin_entry(&mut self, index: LogIndex, bytes: u64) {
        if self.stretches.is_empty() || self.filled >= STRETCH_BYTES {
            self.stretches.insert(index, Counts::default());
            self.changed.insert(index);
            self.filled = 0;
        }
        self.filled += bytes;
    }

    /// An entry is applied: what changed is written.
    pub(crate) fn end_entry(&mut self, changes: &mut Changes) {
        for first in std::mem::take(&mut self.changed) {
            match self.stretches.get(&first) {
                Some(counts) => changes.put(keys::stretch(first), &counts.dead_letters.to_le_bytes()),
                None => changes.delete(keys::stretch(first)),
            }
        }
    }

    pub(crate) fn add(&mut self, need: Need, index: LogIndex) {
        self.change(need, index, |count| count.checked_add(1));
    }

    pub(crate) fn remove(&mut self, need: Need, index: LogIndex) {
        self.change(need, index, |count| count.checked_sub(1));
    }

    fn change(&mut self, need: Need, index: LogIndex, change: impl FnOnce(u64) -> Option<u64>) {
        let (first, counts) = self.stretches.range_mut(..=index).next_back().expect("needed entries are readable");
        let count = counts.of(need);
        *count = change(*count).expect("a record is counted once, in the stretch that holds its body");
        if need == Need::DeadLetter {
            self.changed.insert(*first);
        }
    }

    /// The first entry of the oldest stretch that is needed, by whatever.
    pub(crate) fn oldest(&self) -> Option<LogIndex> {
        self.stretches.iter().find(|(_, counts)| !counts.none()).map(|(first, _)| *first)
    }

    /// Up to where nothing may be needed for the start to come to `to`: the end of the stretch in which the last entry before it
    /// lies. That of the newest stretch is its beginning: what is moved lands there.
    pub(crate) fn bound(&self, to: LogIndex) -> LogIndex {
        let end = self.stretches.range(to..).next().or(self.stretches.last_key_value());
        end.map_or(to, |(first, _)| *first)
    }

    /// Before which entry to look for what is to be moved first, and how many records there are: the end of the oldest stretches that
    /// hold no more than `count` together, or of the first that holds any, if it holds more; at most `bound`.
    pub(crate) fn oldest_until(&self, bound: LogIndex, count: usize) -> (LogIndex, Counts) {
        let mut sum = Counts::default();
        for (first, counts) in self.stretches.range(..bound) {
            let with = sum.with(*counts);
            if !sum.none() && with.all() > count as u64 {
                return (*first, sum);
            }
            sum = with;
        }
        (bound, sum)
    }

    /// How many records need what lies before a stretch.
    pub(crate) fn before(&self, to: LogIndex) -> Counts {
        self.stretches.range(..to).map(|(_, counts)| *counts).fold(Counts::default(), Counts::with)
    }

    /// About how many bytes of entries before `to` are there because something in them is needed.
    pub(crate) fn held_bytes(&self, to: LogIndex) -> u64 {
        let held = self.stretches.range(..to).skip_while(|(_, counts)| counts.none());
        held.count() as u64 * STRETCH_BYTES
    }

    /// Forgets the stretches that end at or before the readable start.
    pub(crate) fn forget_below(&mut self, start: LogIndex) {
        while let Some(second) = self.stretches.keys().nth(1)
            && *second <= start
        {
            let (first, counts) = self.stretches.pop_first().expect("there are two");
            assert!(counts.none(), "the readable start goes over nothing that is needed");
            self.changed.insert(first);
        }
    }

    /// Bytes in the last stretch, for the record of the applied point.
    pub(crate) fn filled(&self) -> u64 {
        self.filled
    }

    /// Takes the store's word for the bytes in the last stretch.
    pub(crate) fn load_filled(&mut self, filled: u64) {
        self.filled = filled;
    }

    /// Takes a stretch of the store in; false if it is known already.
    pub(crate) fn load(&mut self, first: LogIndex, dead_letters: u64) -> bool {
        self.stretches.insert(first, Counts { deliveries: 0, dead_letters }).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Needed {
        let mut needed = Needed::default();
        for first in [0, 2, 4] {
            needed.begin_entry(LogIndex(first), 0);
            needed.begin_entry(LogIndex(first + 1), STRETCH_BYTES);
        }
        needed
    }

    #[test]
    fn the_oldest_needed_stretch_holds_the_start() {
        let mut needed = three();
        assert_eq!(needed.oldest(), None);
        needed.add(Need::Delivery, LogIndex(5));
        needed.add(Need::DeadLetter, LogIndex(3));
        assert_eq!(needed.oldest(), Some(LogIndex(2)));
        let before = [4, 6].map(|to| needed.before(LogIndex(to)));
        assert_eq!(before, [(0, 1), (1, 1)].map(|(deliveries, dead_letters)| Counts { deliveries, dead_letters }));
        needed.remove(Need::DeadLetter, LogIndex(2));
        assert_eq!(needed.oldest(), Some(LogIndex(4)));
        needed.forget_below(LogIndex(5));
        needed.remove(Need::Delivery, LogIndex(4));
        assert_eq!((needed.oldest(), needed.stretches.len()), (None, 1));
    }

    #[test]
    fn a_start_within_a_stretch_needs_all_of_it_moved_but_never_of_the_newest() {
        let needed = three();
        let bounds = [1, 2, 3, 4, 5, 6].map(|to| needed.bound(LogIndex(to)).0);
        assert_eq!(bounds, [2, 2, 4, 4, 4, 4]);
        assert_eq!(Needed::default().bound(LogIndex(7)), LogIndex(7));
    }

    #[test]
    fn the_oldest_are_moved_first_and_as_many_at_once_as_one_command_takes() {
        let mut needed = three();
        assert_eq!(needed.oldest_until(LogIndex(4), 2), (LogIndex(4), Counts::default()), "nobody holds anything");
        for (need, index) in [(Need::Delivery, 0), (Need::DeadLetter, 1), (Need::DeadLetter, 2), (Need::Delivery, 4)] {
            needed.add(need, LogIndex(index));
        }
        let until = [1, 2, 3, 4].map(|count| needed.oldest_until(LogIndex(6), count));
        let ends = until.map(|(end, counts)| (end.0, counts.deliveries, counts.dead_letters));
        assert_eq!(
            ends,
            [(2, 1, 1), (2, 1, 1), (4, 1, 2), (6, 2, 2)],
            "the first stretch goes at once, whatever it holds"
        );
        assert_eq!(needed.oldest_until(LogIndex(2), 9).0, LogIndex(2));
    }

    #[test]
    #[should_panic(expected = "counted once")]
    fn an_underflow_stops_the_node() {
        let mut needed = three();
        needed.add(Need::Delivery, LogIndex(0));
        needed.remove(Need::Delivery, LogIndex(2));
    }
}
