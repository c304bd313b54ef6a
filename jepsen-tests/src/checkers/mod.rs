//! The promises, one a file. Each takes what was seen and answers with everything that breaks the promise.
//!
//! - [`acknowledged`]: what was acknowledged is readable at exactly its queue and offset, with its bytes.
//! - [`dense`]: offsets have no holes and no offset ever holds two messages.
//! - [`once`]: a message is stored once; one that was refused is not; nothing is read that nobody published.
//! - [`replicas`]: nodes hold the same log up to the lower commit index.
//! - [`digests`]: nodes at the same applied index have the same state.

pub mod acknowledged;
pub mod dense;
pub mod digests;
pub mod once;
pub mod replicas;
mod violation;

pub use violation::Violation;

/// All checkers that judge a history whose topic was read from its first message to its last.
#[must_use]
pub fn published(events: &[crate::history::Event]) -> Vec<Violation> {
    [acknowledged::check(events), dense::check(events), once::check(events)].concat()
}

/// Fails a test with the first few violations.
///
/// # Panics
/// If there is a violation.
pub fn assert_none(promise: &str, violations: &[Violation]) {
    const SHOWN_MAX: usize = 20;
    let shown: Vec<String> = violations.iter().take(SHOWN_MAX).map(|violation| format!("  {violation}")).collect();
    assert!(violations.is_empty(), "{promise}: {} violations\n{}", violations.len(), shown.join("\n"));
}

#[cfg(test)]
pub(crate) mod samples {
    //! Events in few words.

    use crate::history::{Event, What};

    pub(crate) fn history(whats: impl IntoIterator<Item = What>) -> Vec<Event> {
        whats.into_iter().zip(0..).map(|(what, at_us)| Event { at_us, what }).collect()
    }

    pub(crate) fn publish(body: &str) -> What {
        What::Publish { body: body.to_owned() }
    }

    pub(crate) fn stored(body: &str, queue: u32, offset: u64) -> What {
        What::Stored { body: body.to_owned(), queue, offset }
    }

    pub(crate) fn refused(body: &str) -> What {
        What::Refused { body: body.to_owned(), why: "full".to_owned() }
    }

    pub(crate) fn unknown(body: &str) -> What {
        What::Unknown { body: body.to_owned(), why: "the connection broke".to_owned() }
    }

    pub(crate) fn read(body: &str, queue: u32, offset: u64) -> What {
        What::Read { body: body.to_owned(), queue, offset, attempt: 1 }
    }

    /// The violations' texts in one.
    pub(crate) fn words(violations: &[super::Violation]) -> String {
        violations.iter().map(|violation| violation.to_string() + "\n").collect()
    }
}
