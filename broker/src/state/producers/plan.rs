//! What a publish with sequences means, decided before anything changes: all of it is stored, or nothing.

use super::{Place, WINDOW, Window};
use crate::state::command::{ProducerStamp, Unsettled};
use crate::state::outcome::PublishRefusal;

/// For each message of the publish, the place of its first time, or nothing if it is new.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Empty if all are new.
    known: Vec<Option<Place>>,
}

impl Plan {
    /// Judges the sequences `base..base + count` against what is kept. The work is linear in the publish.
    pub(crate) fn of(
        window: Option<&Window>,
        stamp: ProducerStamp,
        count: u32,
        fifo: bool,
    ) -> Result<Plan, PublishRefusal> {
        match window {
            Some(window) if stamp.epoch < window.epoch() => Err(PublishRefusal::OldEpoch { current: window.epoch() }),
            Some(window) if stamp.epoch == window.epoch() => Plan::of_known(window, stamp, count, fifo),
            Some(_) => Plan::of_new(stamp, count, fifo, PublishRefusal::SequenceGap { expected: 0 }),
            None => Plan::of_new(stamp, count, fifo, PublishRefusal::UnknownProducer),
        }
    }

    fn of_known(window: &Window, stamp: ProducerStamp, count: u32, fifo: bool) -> Result<Plan, PublishRefusal> {
        let base = stamp.base_sequence;
        if base < window.floor() {
            return Err(PublishRefusal::BelowWindow { first_kept: window.floor() });
        }
        let known = window.known(base, count);
        let first_new = known.iter().position(Option::is_none).or(known.is_empty().then_some(0));
        let Some(first_new) = first_new.map(|at| base + at as u64) else { return Ok(Plan { known }) };
        if first_new < window.known_from() && stamp.is_again() {
            return Err(PublishRefusal::UnknownProducer);
        }
        let floor = stamp.unsettled.map_or(0, |unsettled| unsettled.lowest).max(window.floor());
        let expected = floor.max(window.next());
        if fifo && first_new != expected {
            return Err(PublishRefusal::SequenceGap { expected });
        }
        within_window(stamp, floor, count)?;
        Ok(Plan { known })
    }

    /// A producer that nothing is known of, or that begins a new epoch. A first try was never stored, wherever its
    /// producer stands; whether an earlier one was, cannot be told. `elsewhere` answers who does not say which it is,
    /// and does not begin where a producer begins: at 0 where order counts, else within the window.
    fn of_new(stamp: ProducerStamp, count: u32, fifo: bool, elsewhere: PublishRefusal) -> Result<Plan, PublishRefusal> {
        let base = stamp.base_sequence;
        match stamp.unsettled {
            Some(Unsettled { again: true, .. }) => return Err(PublishRefusal::UnknownProducer),
            Some(Unsettled { lowest, .. }) if fifo && base > lowest => {
                return Err(PublishRefusal::SequenceGap { expected: lowest });
            }
            Some(Unsettled { lowest, .. }) => within_window(stamp, lowest, count)?,
            None if base == 0 || !fifo && base < WINDOW => {}
            None if fifo => return Err(elsewhere),
            None => return Err(PublishRefusal::UnknownProducer),
        }
        Ok(Plan { known: Vec::new() })
    }

    /// Where the first time of a message went.
    pub(crate) fn known(&self, message: usize) -> Option<Place> {
        self.known.get(message).copied().flatten()
    }
}

/// Who says what it has in doubt is held to a bound: what is kept of it is no more than that.
fn within_window(stamp: ProducerStamp, floor: u64, count: u32) -> Result<(), PublishRefusal> {
    let end = stamp.base_sequence + u64::from(count);
    if stamp.unsettled.is_some() && end - floor > WINDOW {
        return Err(PublishRefusal::TooManyInDoubt { lowest: floor });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ProducerId, QueueId, QueueOffset};
    use crate::state::producers::Row;

    fn unsaid(epoch: u64, base_sequence: u64) -> ProducerStamp {
        ProducerStamp { id: ProducerId(1), epoch, base_sequence, unsettled: None }
    }

    fn first(epoch: u64, base_sequence: u64, lowest: u64) -> ProducerStamp {
        ProducerStamp { unsettled: Some(Unsettled { lowest, again: false }), ..unsaid(epoch, base_sequence) }
    }

    fn again(epoch: u64, base_sequence: u64, lowest: u64) -> ProducerStamp {
        ProducerStamp { unsettled: Some(Unsettled { lowest, again: true }), ..unsaid(epoch, base_sequence) }
    }

    fn place(offset: u64) -> Place {
        Place { queue: QueueId(0), offset: QueueOffset(offset) }
    }

    /// The window of epoch 5 that `begin` begins, with these rows.
    fn window(begin: ProducerStamp, rows: &[(u64, u64)]) -> Window {
        let mut window = Window::begin(begin);
        for (base, count) in rows {
            let places: Vec<_> = (*base..base + count).map(|sequence| place(1000 + sequence)).collect();
            window.insert(Row::new(*base, &places));
        }
        window
    }

    fn all_new(window: Option<&Window>, stamp: ProducerStamp, count: u32, fifo: bool) -> bool {
        let plan = Plan::of(window, stamp, count, fifo);
        plan.is_ok_and(|plan| (0..count as usize).all(|message| plan.known(message).is_none()))
    }

    /// hazards 16: a repeat is answered as such only if that very sequence's result is kept.
    #[test]
    fn a_repeat_finds_its_own_results_and_a_hole_is_new() {
        let window = window(unsaid(5, 0), &[(0, 2), (4, 1)]);
        let plan = Plan::of(Some(&window), unsaid(5, 1), 4, false).unwrap();
        assert_eq!(plan.known, [Some(place(1001)), None, None, Some(place(1004))]);
        let plan = Plan::of(Some(&window), again(5, 0, 0), 2, true).unwrap();
        assert_eq!(plan.known, [Some(place(1000)), Some(place(1001))]);
        assert!(all_new(Some(&window), again(5, 2, 0), 2, false), "it was stored by nobody, and can be now");
    }

    /// hazards 16: below the floor a typed refusal; what was abandoned is never stored later.
    #[test]
    fn below_the_floor_nothing_can_be_told() {
        let mut window = window(first(5, 0, 0), &[(0, 10), (20, 5)]);
        window.raise(12);
        for stamp in [first(5, 9, 9), again(5, 9, 9), again(5, 11, 0), unsaid(5, 3)] {
            let refused = Plan::of(Some(&window), stamp, 1, false);
            assert_eq!(refused, Err(PublishRefusal::BelowWindow { first_kept: 12 }), "{stamp:?}");
        }
        assert!(all_new(Some(&window), first(5, 12, 12), 8, false));
    }

    /// hazards 16: in FIFO a gap is refused, unless what lies in it was abandoned.
    #[test]
    fn a_gap_is_refused_where_order_counts_and_not_below_the_floor() {
        let window = window(first(5, 0, 0), &[(0, 2)]);
        let gap = |expected| Err(PublishRefusal::SequenceGap { expected });
        assert_eq!(Plan::of(Some(&window), unsaid(5, 3), 1, true), gap(2));
        assert_eq!(Plan::of(Some(&window), first(5, 3, 2), 1, true), gap(2));
        assert_eq!(Plan::of(Some(&window), first(5, 9, 7), 1, true), gap(7));
        assert!(all_new(Some(&window), first(5, 3, 2), 1, false));
        assert!(all_new(Some(&window), first(5, 7, 7), 3, true), "2 to 6 were abandoned");
        let partly = Plan::of(Some(&window), again(5, 1, 1), 2, true).unwrap();
        assert_eq!(partly.known, [Some(place(1001)), None]);
    }

    #[test]
    fn a_newer_epoch_begins_anew_and_fences_the_older() {
        let window = window(unsaid(5, 0), &[(0, 2)]);
        assert_eq!(Plan::of(Some(&window), unsaid(4, 2), 1, false), Err(PublishRefusal::OldEpoch { current: 5 }));
        assert_eq!(Plan::of(Some(&window), first(4, 2, 2), 1, false), Err(PublishRefusal::OldEpoch { current: 5 }));
        assert!(all_new(Some(&window), unsaid(6, 0), 1, true));
        assert!(all_new(Some(&window), first(6, 7, 7), 1, true));
        let gap = Plan::of(Some(&window), unsaid(6, 1), 1, true);
        assert_eq!(gap, Err(PublishRefusal::SequenceGap { expected: 0 }));
    }

    /// A first try was never stored; an earlier one may have been, and was forgotten.
    #[test]
    fn an_unknown_producer_goes_on_with_first_tries_and_repeats_are_unknown() {
        for fifo in [false, true] {
            for base in [0, 7, 1 << 40] {
                assert!(all_new(None, first(5, base, base), 3, fifo), "{base}");
                let refused = Plan::of(None, again(5, base, base), 3, fifo);
                assert_eq!(refused, Err(PublishRefusal::UnknownProducer), "{base}");
            }
        }
        assert!(all_new(None, first(5, 9, 4), 1, false), "others of it are in doubt, this one is not");
        let gap = Plan::of(None, first(5, 9, 4), 1, true);
        assert_eq!(gap, Err(PublishRefusal::SequenceGap { expected: 4 }));
        assert_eq!(Plan::of(None, unsaid(5, WINDOW), 1, false), Err(PublishRefusal::UnknownProducer));
        assert_eq!(Plan::of(None, unsaid(5, 1), 1, true), Err(PublishRefusal::UnknownProducer));
        assert!(all_new(None, unsaid(5, WINDOW - 1), 1, false));
    }

    /// Sequences 4 to 8 may have been stored and forgotten before 9 came and began the window anew.
    #[test]
    fn a_repeat_of_before_the_window_began_is_unknown_and_a_first_try_is_not() {
        let window = window(first(5, 9, 4), &[(9, 1)]);
        assert_eq!(Plan::of(Some(&window), again(5, 4, 4), 5, false), Err(PublishRefusal::UnknownProducer));
        assert_eq!(Plan::of(Some(&window), again(5, 8, 4), 2, false), Err(PublishRefusal::UnknownProducer));
        assert!(all_new(Some(&window), first(5, 4, 4), 5, false));
        assert_eq!(Plan::of(Some(&window), again(5, 9, 4), 1, false).unwrap().known, [Some(place(1009))]);
        assert!(all_new(Some(&window), again(5, 10, 4), 1, false));
    }

    #[test]
    fn what_is_in_doubt_is_bounded_by_the_window() {
        let window = window(first(5, 0, 0), &[(1, 1)]);
        let refused = Err(PublishRefusal::TooManyInDoubt { lowest: 0 });
        assert_eq!(Plan::of(Some(&window), first(5, WINDOW, 0), 1, false), refused);
        assert_eq!(Plan::of(None, first(5, WINDOW, 0), 1, false), refused);
        assert!(all_new(Some(&window), first(5, WINDOW - 1, 0), 1, false));
        assert!(all_new(Some(&window), first(5, WINDOW, 1), 1, false), "the floor rises with it");
    }
}
