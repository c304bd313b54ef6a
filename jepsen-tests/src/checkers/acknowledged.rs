//! Every acknowledged message is readable at the queue and offset that was acknowledged, with its bytes.

use std::collections::BTreeMap;

use super::Violation;
use crate::history::{Event, What};

/// What breaks the promise in a history whose topic was read from its first message to its last.
#[must_use]
pub fn check(events: &[Event]) -> Vec<Violation> {
    let mut read = BTreeMap::new();
    for event in events {
        if let What::Read { body, queue, offset, .. } = &event.what {
            read.entry((*queue, *offset)).or_insert(body);
        }
    }
    let mut violations = Vec::new();
    for event in events {
        let What::Stored { body, queue, offset } = &event.what else { continue };
        match read.get(&(*queue, *offset)) {
            Some(found) if *found == body => {}
            Some(found) => violations.push(Violation(format!(
                "{body:?} was acknowledged at queue {queue} offset {offset}, where {found:?} is"
            ))),
            None => violations.push(Violation(format!(
                "lost: {body:?} was acknowledged at queue {queue} offset {offset}, and nothing is there"
            ))),
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::{history, publish, read, stored, words};

    #[test]
    fn what_is_read_where_it_was_acknowledged_is_right() {
        let good = history([publish("a"), stored("a", 1, 7), read("a", 1, 7), read("a", 1, 7)]);
        assert_eq!(check(&good), []);
    }

    #[test]
    fn an_acknowledged_message_that_is_nowhere_is_lost() {
        let bad = history([publish("a"), stored("a", 0, 0), publish("b"), stored("b", 0, 1), read("a", 0, 0)]);
        assert!(words(&check(&bad)).starts_with("lost: \"b\" was acknowledged at queue 0 offset 1"));
    }

    #[test]
    fn a_message_at_another_offset_or_queue_does_not_do() {
        for elsewhere in [read("a", 0, 1), read("a", 1, 0)] {
            assert_eq!(check(&history([publish("a"), stored("a", 0, 0), elsewhere])).len(), 1);
        }
    }

    #[test]
    fn other_bytes_at_the_acknowledged_place_are_named() {
        let bad = history([publish("a"), stored("a", 0, 0), read("A", 0, 0)]);
        assert!(words(&check(&bad)).contains("where \"A\" is"));
    }
}
