//! What travels in one request: encoded messages, and who waits for each of them.

use bytes::{Bytes, BytesMut};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    code::Code,
    message_id::MessageId,
    outcome::{Outcome, Refused, Unknown},
};

/// Bytes that a message costs beside its encoding: its entry here, its waiter, its share of the answer.
pub(super) const OVERHEAD_BYTES: usize = 256;

/// Who is told the outcome of a message.
pub(super) enum Waiter {
    /// A future.
    Future(oneshot::Sender<Outcome>),
    /// A function, called by the lane's driver.
    Callback(Box<dyn FnOnce(Outcome) + Send>),
    /// Nobody.
    OneWay,
}

impl Waiter {
    pub(super) fn tell(self, outcome: Outcome) {
        match self {
            // A sender that gave up waiting is no error.
            Self::Future(sender) => drop(sender.send(outcome)),
            Self::Callback(callback) => callback(outcome),
            Self::OneWay => {}
        }
    }
}

/// A message within a batch.
pub(super) struct Entry {
    pub(super) id: MessageId,
    pub(super) waiter: Waiter,
}

/// Invariants: never empty once it is in a lane; `request` holds exactly the messages of `entries`, in their order;
/// nothing is added once it is closed.
pub(super) struct Batch {
    pub(super) request: BytesMut,
    pub(super) entries: Vec<Entry>,
    /// When the first of its messages was accepted; the deadline counts from here.
    pub(super) accepted: Instant,
    /// What it holds of the producer's buffer.
    pub(super) cost_bytes: usize,
}

impl Batch {
    pub(super) fn new(accepted: Instant) -> Self {
        Self { request: BytesMut::new(), entries: Vec::new(), accepted, cost_bytes: 0 }
    }

    /// Appends a message; `encode` writes it behind the others.
    pub(super) fn push(&mut self, entry: Entry, cost_bytes: usize, encode: impl FnOnce(MessageId, &mut BytesMut)) {
        encode(entry.id, &mut self.request);
        self.entries.push(entry);
        self.cost_bytes += cost_bytes;
    }

    /// The encoded request; a batch is taken once, retries share the bytes.
    pub(super) fn take_request(&mut self) -> Bytes {
        std::mem::take(&mut self.request).freeze()
    }

    /// Tells each waiter its outcome.
    pub(super) fn tell(self, outcomes: Vec<Outcome>) {
        assert_eq!(self.entries.len(), outcomes.len(), "one outcome per message");
        for (entry, outcome) in self.entries.into_iter().zip(outcomes) {
            entry.waiter.tell(outcome);
        }
    }

    /// The same refusal for all.
    pub(super) fn refusals(&self, code: Code, message: &str) -> Vec<Outcome> {
        let refuse =
            |entry: &Entry| Outcome::Refused(Refused { code, message: message.to_owned(), message_id: Some(entry.id) });
        self.entries.iter().map(refuse).collect()
    }

    /// The same doubt for all.
    pub(super) fn unknowns(&self, why: &str) -> Vec<Outcome> {
        let unknown = |entry: &Entry| Outcome::Unknown(Unknown { why: why.to_owned(), message_id: entry.id });
        self.entries.iter().map(unknown).collect()
    }
}
