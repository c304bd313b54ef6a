//! References of what was pushed and has not arrived as far as is known, over all streams of a node.
//!
//! A client that never says what arrived makes the node remember each message that it was sent. So there is a bound for each
//! stream, its credit, and one for all of them. The nearer all of them are to theirs, the less may each stream hold: a part
//! of what is left, so that something is left for one that holds nothing. Whoever may not hold more waits; whoever holds more
//! while little is left, and says nothing for long, is ended.

use prometheus_client::metrics::gauge::Gauge;

use crate::limits::{STREAM_CREDIT_MESSAGES_MAX, STREAM_REFERENCES_MAX};

/// A stream may hold one in so many of what is left: at rest as many as its credit allows.
const PART: u64 = STREAM_REFERENCES_MAX / STREAM_CREDIT_MESSAGES_MAX / 4;

/// How many there are. Receives that are under way when there are enough still bring what they were to bring.
#[derive(Clone, Debug)]
pub(in crate::grpc) struct References {
    held: Gauge,
}

impl References {
    /// Counted in this gauge and nowhere else.
    pub(in crate::grpc) fn new(held: Gauge) -> References {
        References { held }
    }

    /// Some more messages are held.
    pub(super) fn add(&self, messages: usize) {
        self.held.inc_by(signed(messages));
    }

    /// Some less are.
    pub(super) fn remove(&self, messages: usize) {
        let before = self.held.dec_by(signed(messages));
        assert!(before >= signed(messages), "what is let go was held");
    }

    /// How many messages one stream may hold now.
    pub(super) fn allowed(&self) -> u64 {
        self.left() / PART
    }

    /// Whether less than half of them is left.
    pub(super) fn are_scarce(&self) -> bool {
        self.left() < STREAM_REFERENCES_MAX / 2
    }

    fn left(&self) -> u64 {
        let held = u64::try_from(self.held.get()).expect("no more is let go than was held");
        STREAM_REFERENCES_MAX.saturating_sub(held)
    }
}

fn signed(messages: usize) -> i64 {
    i64::try_from(messages).expect("a few thousand")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_hold_all_that_they_may_leave_something_for_others() {
        let references = References::new(Gauge::default());
        assert!(references.allowed() >= STREAM_CREDIT_MESSAGES_MAX, "the credit bounds a stream at rest");
        let mut held = 0;
        for _ in 0..100 {
            let more = references.allowed().min(STREAM_CREDIT_MESSAGES_MAX);
            assert!(more > 0);
            references.add(more as usize);
            held += more;
        }
        assert!(references.are_scarce() && held < STREAM_REFERENCES_MAX);
        references.remove(held as usize);
        assert!(!references.are_scarce() && references.allowed() >= STREAM_CREDIT_MESSAGES_MAX);
    }

    #[test]
    fn when_all_are_used_up_nobody_may_hold_more() {
        let references = References::new(Gauge::default());
        references.add(STREAM_REFERENCES_MAX as usize);
        assert_eq!(references.allowed(), 0);
    }
}
