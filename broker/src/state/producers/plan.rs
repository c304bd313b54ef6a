//! What a publish with sequences means, decided before anything changes: all of it is stored, or nothing.

use super::{WINDOW, Window};
use crate::model::{QueueId, QueueOffset};
use crate::state::command::ProducerStamp;
use crate::state::outcome::PublishRefusal;

/// Where a message was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) queue: QueueId,
    pub(crate) offset: QueueOffset,
}

/// For each message of the publish, the place of its first time, or nothing if it is new.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) known: Vec<Option<Place>>,
}

impl Plan {
    /// Judges the sequences `base..base + count` against what is kept.
    pub(crate) fn of(
        window: Option<&Window>,
        stamp: ProducerStamp,
        count: u32,
        fifo: bool,
    ) -> Result<Plan, PublishRefusal> {
        let base = stamp.base_sequence;
        if base.checked_add(u64::from(count)).is_none() {
            return Err(PublishRefusal::UnknownProducer);
        }
        let current = match window {
            Some(window) if stamp.epoch < window.epoch => {
                return Err(PublishRefusal::OldEpoch { current: window.epoch });
            }
            Some(window) if stamp.epoch == window.epoch => Some(window),
            _ => None,
        };
        let Some(window) = current else { return Plan::of_new(window.is_some(), base, count, fifo) };
        if base < window.first_kept() {
            return Err(PublishRefusal::BelowWindow { first_kept: window.first_kept() });
        }
        let known: Vec<_> = (base..base + u64::from(count)).map(|sequence| window.find(sequence)).collect();
        let first_new = known.iter().position(Option::is_none);
        if let Some(at) = first_new
            && fifo
            && base + at as u64 != window.next()
        {
            return Err(PublishRefusal::SequenceGap { expected: window.next() });
        }
        Ok(Plan { known })
    }

    /// A producer that nothing is known of, or that begins a new epoch, begins near 0: at 0 where order counts,
    /// elsewhere within the window, because requests overtake each other. Further on, results may have been forgotten.
    fn of_new(new_epoch: bool, base: u64, count: u32, fifo: bool) -> Result<Plan, PublishRefusal> {
        match (fifo, base, new_epoch) {
            (_, 0, _) => Ok(Plan { known: vec![None; count as usize] }),
            (true, _, true) => Err(PublishRefusal::SequenceGap { expected: 0 }),
            (false, base, _) if base < WINDOW => Ok(Plan { known: vec![None; count as usize] }),
            _ => Err(PublishRefusal::UnknownProducer),
        }
    }

    pub(crate) fn any_new(&self) -> bool {
        self.known.iter().any(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProducerId;

    fn stamp(epoch: u64, base_sequence: u64) -> ProducerStamp {
        ProducerStamp { id: ProducerId(1), epoch, base_sequence }
    }

    fn place(offset: u64) -> Place {
        Place { queue: QueueId(0), offset: QueueOffset(offset) }
    }

    fn window(rows: &[(u64, u64)]) -> Window {
        let mut window = Window::new(5);
        for (base, count) in rows {
            let places: Vec<_> = (*base..base + count).map(|sequence| place(1000 + sequence)).collect();
            window.insert(*base, &places);
            window.slide();
        }
        window
    }

    /// hazards 16: a repeat is answered as such only if that very sequence's result is kept.
    #[test]
    fn a_repeat_finds_its_own_results_and_a_hole_is_new() {
        let window = window(&[(0, 2), (4, 1)]);
        let plan = Plan::of(Some(&window), stamp(5, 1), 4, false).unwrap();
        assert_eq!(plan.known, [Some(place(1001)), None, None, Some(place(1004))]);
        assert!(plan.any_new());
        assert!(!Plan::of(Some(&window), stamp(5, 0), 2, true).unwrap().any_new());
    }

    /// hazards 16: below the window a typed refusal.
    #[test]
    fn below_the_window_nothing_can_be_told() {
        let window = window(&[(0, 10), (10, WINDOW)]);
        let refused = Plan::of(Some(&window), stamp(5, 9), 1, false);
        assert_eq!(refused, Err(PublishRefusal::BelowWindow { first_kept: 10 }));
        assert!(Plan::of(Some(&window), stamp(5, 10), 1, false).is_ok());
        let forgotten = Plan::of(None, stamp(5, WINDOW), 1, false);
        assert_eq!(forgotten, Err(PublishRefusal::UnknownProducer));
    }

    /// hazards 16: in FIFO a gap is refused.
    #[test]
    fn a_gap_is_refused_where_order_counts() {
        let window = window(&[(0, 2)]);
        assert_eq!(Plan::of(Some(&window), stamp(5, 3), 1, true), Err(PublishRefusal::SequenceGap { expected: 2 }));
        assert!(Plan::of(Some(&window), stamp(5, 3), 1, false).is_ok());
        assert!(Plan::of(Some(&window), stamp(5, 1), 2, true).unwrap().any_new());
        assert_eq!(Plan::of(None, stamp(5, 1), 1, true), Err(PublishRefusal::UnknownProducer));
    }

    #[test]
    fn a_newer_epoch_begins_anew_and_fences_the_older() {
        let window = window(&[(0, 2)]);
        assert_eq!(Plan::of(Some(&window), stamp(4, 2), 1, false), Err(PublishRefusal::OldEpoch { current: 5 }));
        assert_eq!(Plan::of(Some(&window), stamp(6, 0), 1, true).unwrap().known, [None]);
        assert_eq!(Plan::of(Some(&window), stamp(6, 1), 1, true), Err(PublishRefusal::SequenceGap { expected: 0 }));
    }
}
