//! What a client sent against what it received.

use std::collections::BTreeSet;

use crate::checkers::Violation;

/// The body of message `number`, the same in every program.
#[must_use]
pub fn body(language: &str, number: u64) -> String {
    format!("{language} {number} \u{2713}")
}

/// Every body that was to come and did not, and every one that came and was not to.
///
/// Repeated ones are no violation: an official client sends again under a new message id when an answer was lost.
#[must_use]
pub fn check(language: &str, sent: &[u64], received: &[String]) -> Vec<Violation> {
    let expected: BTreeSet<String> = sent.iter().map(|number| body(language, *number)).collect();
    let came: BTreeSet<&String> = received.iter().collect();
    let lost = expected.iter().filter(|body| !came.contains(body));
    let strange = came.iter().filter(|body| !expected.contains(**body));
    lost.map(|body| Violation(format!("{body:?} was sent and did not come")))
        .chain(strange.map(|body| Violation(format!("{body:?} came and was not sent"))))
        .collect()
}

/// How many deliveries were repetitions.
#[must_use]
pub fn repeated(received: &[String]) -> usize {
    received.len() - received.iter().collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::words;

    #[test]
    fn everything_that_was_sent_comes_at_least_once() {
        let received = [body("go", 0), body("go", 1), body("go", 0)];
        assert_eq!(check("go", &[0, 1], &received), []);
        assert_eq!(repeated(&received), 1);
        let text = words(&check("go", &[0, 1, 2], &received));
        assert!(text.contains("2 \u{2713}\" was sent and did not come"), "{text}");
        let text = words(&check("go", &[0], &received));
        assert!(text.contains("1 \u{2713}\" came and was not sent"), "{text}");
    }
}
