//! Whether a request is tried again, and how it ends: a state machine without I/O.
//!
//! The rule that everything hangs on (15 of the design's hazards): once an attempt may have got through, no later
//! refusal can turn the request into "not stored", because the earlier attempt may still be on its way.

use std::time::Duration;

use tokio::time::Instant;

use super::verdict::{EntryVerdict, Place, Verdict};
use crate::{backoff, code::Code, outcome::RefusedReason};

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    Stored(Vec<Place>),
    NotStored { reason: RefusedReason, why: String },
    InDoubt { why: String },
    Mixed(Vec<EntryVerdict>),
}

/// What follows an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    Done(Ending),
    /// Send the same request again after this wait.
    Again(Duration),
}

/// The attempts of one request.
#[derive(Debug)]
pub(super) struct Attempts {
    deadline: Instant,
    failures: u32,
    /// Why an earlier attempt may have got through.
    doubt: Option<String>,
}

impl Attempts {
    pub(super) fn new(deadline: Instant) -> Self {
        Self { deadline, failures: 0, doubt: None }
    }

    /// Whether an earlier attempt may have got through.
    pub(super) fn are_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// An attempt ended at `now`. `jitter` is a fraction.
    pub(super) fn after(&mut self, verdict: Verdict, now: Instant, jitter: f64) -> Next {
        let (reason, why, again) = match verdict {
            Verdict::Stored(places) => return Next::Done(Ending::Stored(places)),
            Verdict::Mixed(entries) => return Next::Done(Ending::Mixed(self.shade(entries))),
            Verdict::NotStored { reason, why, again } => (reason, why, again),
            Verdict::InDoubt { why, again } => {
                self.doubt = Some(why.clone());
                (RefusedReason::Unreachable, why, again)
            }
        };
        self.failures += 1;
        let overloaded = reason == RefusedReason::Answered(Code::TOO_MANY_REQUESTS);
        let delay = if overloaded { backoff::delay_overloaded } else { backoff::delay };
        let wait = delay(self.failures, jitter);
        if again && now + wait < self.deadline {
            return Next::Again(wait);
        }
        let why = if again { format!("no success in {} attempts; last: {why}", self.failures) } else { why };
        Next::Done(match &self.doubt {
            Some(doubt) if *doubt == why => Ending::InDoubt { why },
            Some(doubt) => Ending::InDoubt { why: format!("{why}; an earlier attempt may have got through: {doubt}") },
            None => Ending::NotStored { reason, why },
        })
    }

    /// An earlier doubt lies on every message that is not known to be stored.
    fn shade(&self, entries: Vec<EntryVerdict>) -> Vec<EntryVerdict> {
        let Some(doubt) = &self.doubt else { return entries };
        let shade = |entry| match entry {
            EntryVerdict::NotStored { why, .. } => {
                EntryVerdict::InDoubt { why: format!("{why}; an earlier attempt may have got through: {doubt}") }
            }
            other => other,
        };
        entries.into_iter().map(shade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { group: None, queue: Some(1), offset: 7 };

    fn not_stored(again: bool) -> Verdict {
        Verdict::NotStored { reason: RefusedReason::Answered(Code::HA_NOT_AVAILABLE), why: "no leader".into(), again }
    }

    fn in_doubt(again: bool) -> Verdict {
        Verdict::InDoubt { why: "connection broke".into(), again }
    }

    fn start() -> (Attempts, Instant) {
        let now = Instant::now();
        (Attempts::new(now + Duration::from_secs(1)), now)
    }

    #[test]
    fn what_can_be_retried_is_until_the_deadline() {
        let (mut attempts, now) = start();
        assert_eq!(attempts.after(not_stored(true), now, 0.0), Next::Again(Duration::from_millis(10)));
        assert_eq!(attempts.after(not_stored(true), now, 0.0), Next::Again(Duration::from_millis(20)));
        let late = now + Duration::from_millis(995);
        let Next::Done(Ending::NotStored { reason, why }) = attempts.after(not_stored(true), late, 0.0) else {
            panic!()
        };
        assert_eq!(reason, RefusedReason::Answered(Code::HA_NOT_AVAILABLE));
        assert!(why.contains("3 attempts") && why.contains("no leader"), "{why}");
    }

    #[test]
    fn a_node_that_has_too_much_to_do_is_left_alone_for_longer() {
        let (mut attempts, now) = start();
        let refused = Verdict::NotStored {
            reason: RefusedReason::Answered(Code::TOO_MANY_REQUESTS),
            why: "overload".into(),
            again: true,
        };
        assert_eq!(attempts.after(refused, now, 0.0), Next::Again(Duration::from_millis(100)));
    }

    #[test]
    fn a_refusal_without_any_doubt_is_refused() {
        let (mut attempts, now) = start();
        let next = attempts.after(not_stored(false), now, 0.0);
        assert_eq!(
            next,
            Next::Done(Ending::NotStored {
                reason: RefusedReason::Answered(Code::HA_NOT_AVAILABLE),
                why: "no leader".into()
            })
        );
    }

    /// Hazard 15: never "refused" for what may be stored.
    #[test]
    fn after_a_doubt_no_refusal_is_believed() {
        let (mut attempts, now) = start();
        assert!(matches!(attempts.after(in_doubt(true), now, 0.0), Next::Again(_)));
        let Next::Done(Ending::InDoubt { why }) = attempts.after(not_stored(false), now, 0.0) else { panic!() };
        assert!(why.contains("connection broke") && why.contains("no leader"), "{why}");

        let (mut attempts, now) = start();
        assert!(matches!(attempts.after(in_doubt(true), now, 0.0), Next::Again(_)));
        let late = now + Duration::from_secs(1);
        assert!(matches!(attempts.after(not_stored(true), late, 0.0), Next::Done(Ending::InDoubt { .. })));
    }

    #[test]
    fn after_a_doubt_a_place_is_believed() {
        let (mut attempts, now) = start();
        assert!(!attempts.are_in_doubt());
        assert!(matches!(attempts.after(not_stored(true), now, 0.0), Next::Again(_)));
        assert!(!attempts.are_in_doubt(), "that one surely did not get through");
        assert!(matches!(attempts.after(in_doubt(true), now, 0.0), Next::Again(_)));
        assert!(attempts.are_in_doubt());
        let next = attempts.after(Verdict::Stored(vec![PLACE]), now, 0.0);
        assert_eq!(next, Next::Done(Ending::Stored(vec![PLACE])));
    }

    /// Hazard 15, message by message.
    #[test]
    fn a_doubt_lies_on_each_refused_message_of_a_mixed_answer() {
        let refused = EntryVerdict::NotStored { reason: RefusedReason::Answered(Code::BAD_REQUEST), why: "bad".into() };
        let mixed = Verdict::Mixed(vec![EntryVerdict::Stored(PLACE), refused.clone()]);
        let (mut attempts, now) = start();
        assert_eq!(
            attempts.after(mixed.clone(), now, 0.0),
            Next::Done(Ending::Mixed(vec![EntryVerdict::Stored(PLACE), refused]))
        );
        let (mut attempts, now) = start();
        assert!(matches!(attempts.after(in_doubt(true), now, 0.0), Next::Again(_)));
        let Next::Done(Ending::Mixed(entries)) = attempts.after(mixed, now, 0.0) else { panic!() };
        assert!(matches!(entries.as_slice(), [EntryVerdict::Stored(_), EntryVerdict::InDoubt { .. }]));
    }
}
