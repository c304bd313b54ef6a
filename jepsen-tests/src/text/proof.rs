//! Line by line: what was acknowledged, against what came back.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::{
    checkers::Violation,
    failure::{Doing, Failure},
};

/// A line of `tercet publish --acks`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Acknowledged {
    /// Which line of the text, from 1 on.
    pub line: usize,
    /// The id under which it is stored.
    pub message_id: String,
    /// Where it is stored.
    pub queue: u32,
    /// Where in that queue.
    pub offset: u64,
}

/// A line of `tercet consume --out`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Consumed {
    /// Where it came from.
    pub queue: u32,
    /// Where in that queue.
    pub offset: u64,
    /// The id under which it is stored.
    pub message_id: String,
    /// Which delivery it was.
    pub attempt: u32,
    /// The line.
    pub body: String,
}

/// Reads JSON lines.
///
/// # Errors
/// If a line is not of this kind; the text names its number.
pub fn parse<T: for<'a> Deserialize<'a>>(what: &str, text: &str) -> Result<Vec<T>, Failure> {
    text.lines()
        .enumerate()
        .map(|(number, line)| serde_json::from_str(line).doing(|| format!("{what}, line {}", number + 1)))
        .collect()
}

/// Everything that is wrong: lines that were not acknowledged, or not where it was said, or twice, or that nobody sent.
#[must_use]
pub fn check(text: &[String], acknowledged: &[Acknowledged], consumed: &[Consumed]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut lines = BTreeSet::new();
    let mut places = BTreeMap::new();
    for ack in acknowledged {
        let place = (ack.queue, ack.offset);
        if !lines.insert(ack.line) {
            violations.push(Violation(format!("line {} was acknowledged twice", ack.line)));
        }
        if let Some(other) = places.insert(place, ack) {
            violations.push(Violation(format!("lines {} and {} got the same place {place:?}", other.line, ack.line)));
        }
    }
    for line in (1..=text.len()).filter(|line| !lines.contains(line)) {
        violations.push(Violation(format!("line {line} was not acknowledged")));
    }
    violations.extend(check_consumed(text, &places, consumed));
    violations
}

fn check_consumed(
    text: &[String],
    places: &BTreeMap<(u32, u64), &Acknowledged>,
    consumed: &[Consumed],
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut came: BTreeMap<(u32, u64), &str> = BTreeMap::new();
    for message in consumed {
        let place = (message.queue, message.offset);
        if came.insert(place, &message.body).is_some_and(|before| before != message.body) {
            violations.push(Violation(format!("(queue, offset) {place:?} came with two different bodies")));
        }
        match places.get(&place) {
            None => violations.push(Violation(format!("nobody sent what is at (queue, offset) {place:?}"))),
            Some(ack) if text.get(ack.line - 1) != Some(&message.body) => {
                violations.push(Violation(format!("line {} came back from {place:?} with other bytes", ack.line)))
            }
            Some(ack) if ack.message_id != message.message_id => violations
                .push(Violation(format!("line {} came back from {place:?} with another message id", ack.line))),
            Some(_) => {}
        }
    }
    for (place, ack) in places.iter().filter(|(place, _)| !came.contains_key(place)) {
        violations.push(Violation(format!("lost: line {} was acknowledged at {place:?} and did not come", ack.line)));
    }
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    for (queue, offset) in came.into_keys() {
        let expected = next.insert(queue, offset + 1).unwrap_or(0);
        if expected != offset {
            violations.push(Violation(format!("queue {queue} has a hole before offset {offset}")));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::words;

    fn text() -> Vec<String> {
        ["one", "two", "two"].map(str::to_owned).to_vec()
    }

    fn ack(line: usize, queue: u32, offset: u64) -> Acknowledged {
        Acknowledged { line, message_id: format!("id-{line}"), queue, offset }
    }

    fn come(queue: u32, offset: u64, id: usize, body: &str) -> Consumed {
        Consumed { queue, offset, message_id: format!("id-{id}"), attempt: 1, body: body.to_owned() }
    }

    fn acks() -> Vec<Acknowledged> {
        vec![ack(2, 0, 0), ack(1, 0, 1), ack(3, 1, 0)]
    }

    fn all() -> Vec<Consumed> {
        vec![come(0, 0, 2, "two"), come(0, 1, 1, "one"), come(1, 0, 3, "two")]
    }

    #[test]
    fn every_line_at_its_place_is_right_redeliveries_included() {
        assert_eq!(check(&text(), &acks(), &[all(), all()].concat()), []);
    }

    #[test]
    fn a_line_that_was_not_acknowledged_is_named() {
        let text_of = words(&check(&text(), &acks()[..2], &all()[..2]));
        assert_eq!(text_of, "line 3 was not acknowledged\n");
    }

    #[test]
    fn a_lost_line_is_named() {
        let found = words(&check(&text(), &acks(), &all()[..2]));
        assert!(found.contains("lost: line 3 was acknowledged at (1, 0)"), "{found}");
    }

    #[test]
    fn other_bytes_another_id_and_strangers_are_named() {
        for (bad, expected) in [
            (come(0, 0, 2, "twp"), "line 2 came back from (0, 0) with other bytes"),
            (come(0, 0, 9, "two"), "line 2 came back from (0, 0) with another message id"),
            (come(0, 2, 4, "four"), "nobody sent what is at (queue, offset) (0, 2)"),
        ] {
            let mut consumed = all();
            consumed.push(bad);
            let found = words(&check(&text(), &acks(), &consumed));
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn doubled_lines_places_and_holes_are_named() {
        let doubled = words(&check(&text(), &[acks(), vec![ack(3, 1, 1)]].concat(), &all()));
        assert!(doubled.contains("line 3 was acknowledged twice"), "{doubled}");
        let same = words(&check(&text(), &[ack(1, 0, 0), ack(2, 0, 0), ack(3, 1, 0)], &all()));
        assert!(same.contains("lines 1 and 2 got the same place (0, 0)"), "{same}");
        let moved = words(&check(&text(), &[ack(1, 0, 1), ack(2, 0, 2), ack(3, 0, 3)], &[]));
        assert_eq!(moved.matches("lost").count(), 3, "{moved}");
        let hole = [come(0, 1, 1, "one"), come(0, 2, 2, "two"), come(0, 3, 3, "two")];
        let found = words(&check(&text(), &[ack(1, 0, 1), ack(2, 0, 2), ack(3, 0, 3)], &hole));
        assert_eq!(found, "queue 0 has a hole before offset 1\n");
    }
}
