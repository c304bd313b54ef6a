//! Values by offset, for offsets that come in order, lie close together and go soon.
//!
//! ```text
//!   old: a tree             base                                 end
//!   ●     ●         ●        │ ● ● ○ ● ● ● ○ ● ● ● ● ● ● ● ● ● ● │ ◄─ the next one
//!   stragglers               └ slots: one for each offset ───────┘
//! ```
//! What a group has pending of a queue is such: a slot is found without a search, and what is done with leaves no hole to be closed.
//! The slots are never much more than what they hold: whoever stays behind moves to the tree.

use std::collections::{BTreeMap, VecDeque};

/// Slots beyond twice as many as are held.
const EMPTY_MAX: usize = 8;
/// Memory is given back when so little of it is used, from so many slots on.
const UNUSED_FACTOR: usize = 8;
const KEPT_SLOTS: usize = 256;

/// Invariants: the tree's offsets lie before `base`; the first and the last slot hold something; there are at most
/// `2 * held + EMPTY_MAX` of them.
#[derive(Debug)]
pub(super) struct Window<T> {
    old: BTreeMap<u64, T>,
    base: u64,
    slots: VecDeque<Option<T>>,
    held: usize,
}

impl<T> Default for Window<T> {
    fn default() -> Window<T> {
        Window { old: BTreeMap::new(), base: 0, slots: VecDeque::new(), held: 0 }
    }
}

impl<T> Window<T> {
    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.old.len() + self.held
    }

    fn slot(&self, offset: u64) -> Option<usize> {
        let at = usize::try_from(offset.checked_sub(self.base)?).ok()?;
        (at < self.slots.len()).then_some(at)
    }

    /// The value at an offset.
    pub(super) fn get(&self, offset: u64) -> Option<&T> {
        match self.slot(offset) {
            Some(at) => self.slots[at].as_ref(),
            None => self.old.get(&offset),
        }
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, offset: u64) -> Option<&mut T> {
        match self.slot(offset) {
            Some(at) => self.slots[at].as_mut(),
            None => self.old.get_mut(&offset),
        }
    }

    /// Puts a value at an offset; answers the one that was there.
    pub(super) fn insert(&mut self, offset: u64, value: T) -> Option<T> {
        if let Some(at) = self.slot(offset) {
            let before = self.slots[at].replace(value);
            self.held += usize::from(before.is_none());
            return before;
        }
        if self.slots.is_empty() && self.old.last_key_value().is_none_or(|(last, _)| *last < offset) {
            self.base = offset;
        }
        if offset < self.base {
            return self.old.insert(offset, value);
        }
        let gap = usize::try_from(offset - self.base).unwrap_or(usize::MAX) - self.slots.len();
        if gap > self.held + EMPTY_MAX {
            while self.retire_first() {}
            self.base = offset;
        } else {
            self.slots.extend(std::iter::repeat_with(|| None).take(gap));
        }
        self.slots.push_back(Some(value));
        self.held += 1;
        self.tidy();
        None
    }

    /// Takes the value at an offset away.
    pub(super) fn remove(&mut self, offset: u64) -> Option<T> {
        let Some(at) = self.slot(offset) else { return self.old.remove(&offset) };
        let before = self.slots[at].take()?;
        self.held -= 1;
        self.tidy();
        Some(before)
    }

    /// The first offset and its value.
    pub(super) fn first(&self) -> Option<(u64, &T)> {
        self.from(0).next()
    }

    /// All from an offset on, in order.
    pub(super) fn from(&self, offset: u64) -> impl Iterator<Item = (u64, &T)> {
        let skipped = usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.slots.len());
        let slots = (self.base..).zip(&self.slots).skip(skipped);
        let old = self.old.range(offset..).map(|(offset, value)| (*offset, value));
        old.chain(slots.filter_map(|(offset, slot)| Some((offset, slot.as_ref()?))))
    }

    /// Moves the first slot to the tree, if there is one.
    fn retire_first(&mut self) -> bool {
        let Some(first) = self.slots.pop_front() else { return false };
        if let Some(value) = first {
            self.held -= 1;
            self.old.insert(self.base, value);
        }
        self.base += 1;
        true
    }

    /// Brings the slots within their bounds.
    fn tidy(&mut self) {
        while self.slots.back().is_some_and(Option::is_none) {
            self.slots.pop_back();
        }
        while self.slots.front().is_some_and(Option::is_none) || self.slots.len() > 2 * self.held + EMPTY_MAX {
            self.retire_first();
        }
        if self.slots.capacity() > KEPT_SLOTS && self.slots.len() < self.slots.capacity() / UNUSED_FACTOR {
            self.slots.shrink_to((2 * self.slots.len()).max(KEPT_SLOTS));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        /// So far behind the last one, most often next to it.
        Append(u64),
        Insert(u64),
        Remove(u64),
        RemoveFirst,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => prop_oneof![9 => Just(1), 1 => 1_u64..40].prop_map(Step::Append),
            1 => (0_u64..400).prop_map(Step::Insert),
            2 => (0_u64..400).prop_map(Step::Remove),
            3 => Just(Step::RemoveFirst),
        ]
    }

    fn check(window: &Window<u64>, model: &BTreeMap<u64, u64>) {
        assert_eq!(window.len(), model.len());
        assert_eq!(window.held, window.slots.iter().flatten().count());
        assert!(window.slots.len() <= 2 * window.held + EMPTY_MAX);
        assert!(window.old.last_key_value().is_none_or(|(last, _)| window.slots.is_empty() || *last < window.base));
        assert!(window.slots.front().is_none_or(Option::is_some) && window.slots.back().is_none_or(Option::is_some));
        assert_eq!(window.first(), model.first_key_value().map(|(offset, value)| (*offset, value)));
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec(step(), 1..600), from in 0_u64..500) {
            let (mut window, mut model) = (Window::default(), BTreeMap::new());
            let mut last = 0;
            for (value, step) in (0..).zip(steps) {
                let (ours, theirs) = match step {
                    Step::Append(by) => {
                        last += by;
                        (window.insert(last, value), model.insert(last, value))
                    }
                    Step::Insert(offset) => (window.insert(offset, value), model.insert(offset, value)),
                    Step::Remove(offset) => (window.remove(offset), model.remove(&offset)),
                    Step::RemoveFirst => {
                        let first = window.first().map_or(0, |(offset, _)| offset);
                        (window.remove(first), model.remove(&first))
                    }
                };
                prop_assert_eq!(ours, theirs);
                check(&window, &model);
            }
            let all = |from: u64| model.range(from..).map(|(offset, value)| (*offset, value)).collect::<Vec<_>>();
            prop_assert_eq!(window.from(from).collect::<Vec<_>>(), all(from));
            for offset in 0..500 {
                prop_assert_eq!(window.get(offset), model.get(&offset));
                prop_assert_eq!(window.get_mut(offset).copied(), model.get(&offset).copied());
            }
        }
    }

    #[test]
    fn what_stays_behind_costs_no_slots_and_what_was_large_gives_its_memory_back() {
        let mut window = Window::default();
        for offset in 0..100_000 {
            window.insert(offset, offset);
        }
        for offset in 1..99_999 {
            window.remove(offset);
        }
        assert_eq!((window.len(), window.from(0).map(|(offset, _)| offset).collect::<Vec<_>>()), (2, vec![0, 99_999]));
        assert!(window.slots.capacity() <= 2 * KEPT_SLOTS, "{} slots", window.slots.capacity());
        window.insert(1 << 40, 0);
        assert!(window.slots.len() <= 2 * window.held + EMPTY_MAX);
    }
}
