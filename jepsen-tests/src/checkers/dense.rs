//! Offsets of a queue begin at 0 and have no holes, and an offset never holds two messages: neither for two readers, nor
//! for two publishers, nor for a reader and a publisher.

use std::collections::BTreeMap;

use super::Violation;
use crate::history::{Event, What};

/// What breaks the promise in a history whose topic was read from its first message to its last.
#[must_use]
pub fn check(events: &[Event]) -> Vec<Violation> {
    let mut holds: BTreeMap<(u32, u64), &str> = BTreeMap::new();
    let mut violations = Vec::new();
    for event in events {
        let (What::Read { body, queue, offset, .. } | What::Stored { body, queue, offset }) = &event.what else {
            continue;
        };
        let first = *holds.entry((*queue, *offset)).or_insert(body);
        if first != body {
            violations.push(Violation(format!("queue {queue} offset {offset} holds {first:?} and also {body:?}")));
        }
    }
    let mut expected: BTreeMap<u32, u64> = BTreeMap::new();
    for (queue, offset) in holds.into_keys() {
        let next = expected.entry(queue).or_insert(0);
        if *next < offset {
            violations.push(Violation(format!("queue {queue} has a hole: offsets {next} to {}", offset - 1)));
        }
        *next = offset + 1;
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{history, read, stored, words};

    #[test]
    fn dense_queues_are_right() {
        let good = history([stored("b", 0, 1), stored("a", 0, 0), stored("c", 2, 0), read("a", 0, 0), read("a", 0, 0)]);
        assert_eq!(check(&good), []);
    }

    #[test]
    fn an_offset_given_to_two_messages_is_named() {
        for second in [stored("b", 0, 0), read("b", 0, 0)] {
            let text = words(&check(&history([stored("a", 0, 0), second])));
            assert!(text.contains("queue 0 offset 0 holds \"a\" and also \"b\""), "{text}");
        }
    }

    #[test]
    fn an_offset_that_changes_between_two_reads_is_named() {
        assert_eq!(check(&history([read("a", 0, 0), read("b", 0, 0)])).len(), 1);
    }

    #[test]
    fn holes_are_named_also_the_one_at_the_beginning() {
        let text = words(&check(&history([read("a", 0, 0), read("b", 0, 3), read("c", 1, 2)])));
        assert!(text.contains("queue 0 has a hole: offsets 1 to 2"), "{text}");
        assert!(text.contains("queue 1 has a hole: offsets 0 to 1"), "{text}");
    }
}
