//! How long nothing was acknowledged: what a publisher feels of a fault.

use std::time::Duration;

use crate::history::{Event, What};

/// The longest time without an acknowledgement that overlaps the span from `from` to `until` (times of the history).
/// The time before the first and after the last acknowledgement counts as such too.
#[must_use]
pub fn longest(events: &[Event], from: Duration, until: Duration) -> Duration {
    assert!(from <= until, "a span ends after it begins");
    let mut longest = Duration::ZERO;
    let mut last = Duration::ZERO;
    let stored = events.iter().filter(|event| matches!(event.what, What::Stored { .. }));
    for at in stored.map(|event| Duration::from_micros(event.at_us)).chain([until]) {
        if at >= from {
            longest = longest.max(at.saturating_sub(last));
        }
        last = at;
        if at >= until {
            break;
        }
    }
    longest
}

/// The middle of `values`; of an even number the greater of the two middle ones.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn median(values: &[Duration]) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    *sorted.get(sorted.len() / 2).expect("a median needs a value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored_at(milliseconds: &[u64]) -> Vec<Event> {
        let stored = What::Stored { body: String::new(), queue: 0, offset: 0 };
        milliseconds.iter().map(|at| Event { at_us: at * 1000, what: stored.clone() }).collect()
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_gap_that_spans_the_fault_counts_from_the_last_acknowledgement_before_it() {
        let events = stored_at(&[0, 10, 90, 1100, 1110]);
        assert_eq!(longest(&events, ms(100), ms(1105)), ms(1010));
    }

    #[test]
    fn gaps_outside_the_span_do_not_count() {
        let events = stored_at(&[0, 900, 910, 1000, 1010, 5000]);
        assert_eq!(longest(&events, ms(950), ms(1010)), ms(90));
    }

    #[test]
    fn silence_until_the_end_counts() {
        assert_eq!(longest(&stored_at(&[10]), ms(5), ms(700)), ms(690));
        assert_eq!(longest(&[], ms(5), ms(700)), ms(700));
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(&[ms(3), ms(1), ms(2)]), ms(2));
        assert_eq!(median(&[ms(1), ms(2)]), ms(2));
    }
}
