//! A message is stored at most once, whatever its publisher was told; a refused one is not stored; and nothing is read
//! that nobody published.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use crate::history::{Event, What};

/// What breaks the promise.
#[must_use]
pub fn check(events: &[Event]) -> Vec<Violation> {
    let mut published = BTreeSet::new();
    let mut refused = BTreeSet::new();
    let mut places: BTreeMap<&str, BTreeSet<(u32, u64)>> = BTreeMap::new();
    for event in events {
        match &event.what {
            What::Publish { body } => {
                published.insert(body.as_str());
            }
            What::Refused { body, .. } => {
                refused.insert(body.as_str());
            }
            What::Stored { body, queue, offset } | What::Read { body, queue, offset, .. } => {
                places.entry(body).or_default().insert((*queue, *offset));
            }
            What::Unknown { .. } | What::Fault { .. } => {}
        }
    }
    let mut violations = Vec::new();
    for (body, places) in places {
        if !published.contains(body) {
            violations.push(Violation(format!("nobody published {body:?}, which is at (queue, offset) {places:?}")));
        }
        if refused.contains(body) {
            violations.push(Violation(format!("{body:?} was refused and is stored at (queue, offset) {places:?}")));
        }
        if places.len() > 1 {
            violations.push(Violation(format!("{body:?} is stored more than once, at (queue, offset) {places:?}")));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{history, publish, read, refused, stored, unknown, words};

    #[test]
    fn stored_once_refused_never_unknown_either_way_is_right() {
        let good = history([
            publish("a"),
            stored("a", 0, 0),
            publish("b"),
            refused("b"),
            publish("c"),
            unknown("c"),
            publish("d"),
            unknown("d"),
            read("a", 0, 0),
            read("d", 0, 1),
        ]);
        assert_eq!(check(&good), []);
    }

    #[test]
    fn an_unknown_message_that_is_there_twice_is_named() {
        let text = words(&check(&history([publish("a"), unknown("a"), read("a", 0, 0), read("a", 1, 0)])));
        assert!(text.contains("\"a\" is stored more than once"), "{text}");
    }

    #[test]
    fn a_retry_that_doubled_an_acknowledged_message_is_named() {
        assert_eq!(check(&history([publish("a"), stored("a", 0, 1), read("a", 0, 0), read("a", 0, 1)])).len(), 1);
    }

    #[test]
    fn a_refused_message_that_is_there_is_named() {
        let text = words(&check(&history([publish("a"), refused("a"), read("a", 0, 0)])));
        assert!(text.contains("\"a\" was refused and is stored"), "{text}");
    }

    #[test]
    fn bytes_that_nobody_published_are_named() {
        let text = words(&check(&history([publish("a"), read("z", 0, 0)])));
        assert!(text.contains("nobody published \"z\""), "{text}");
    }
}
