//! What travels in one request: encoded messages, and who waits for each of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Bytes, BytesMut};
use tokio::{sync::oneshot, time::Instant};

use super::room::Room;
use crate::{
    message_id::MessageId,
    outcome::{Outcome, Refused, RefusedReason, Unknown},
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
            // It runs in the task that sends for all others.
            Self::Callback(callback) => {
                if catch_unwind(AssertUnwindSafe(|| callback(outcome))).is_err() {
                    tracing::error!("a callback of send_with panicked; its message has its outcome all the same");
                }
            }
            Self::OneWay => {}
        }
    }
}

/// A message within a batch. Whatever becomes of it, its room is free once its waiter was told.
pub(super) struct Entry {
    pub(super) id: MessageId,
    pub(super) waiter: Waiter,
    /// Nothing if another one of its batch holds the room of all.
    pub(super) room: Option<Room>,
}

/// Who formed a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Formed {
    /// The producer: its messages have nothing to do with each other.
    ByProducer,
    /// The application: all of it or nothing.
    ByApplication,
}

impl Entry {
    fn tell(self, outcome: Outcome) {
        let Self { waiter, room, .. } = self;
        waiter.tell(outcome);
        drop(room);
    }
}

/// Invariants: never empty once it is in a lane; `request` holds exactly the messages of `entries`, in their order;
/// nothing is added once it is closed.
pub(super) struct Batch {
    pub(super) request: BytesMut,
    pub(super) entries: Vec<Entry>,
    /// Where the encoding of each ends in the request.
    ends: Vec<usize>,
    formed: Formed,
    /// When the first of its messages was accepted; the deadline counts from here.
    pub(super) accepted: Instant,
}

impl Batch {
    pub(super) fn new(accepted: Instant, formed: Formed) -> Self {
        Self { request: BytesMut::new(), entries: Vec::new(), ends: Vec::new(), formed, accepted }
    }

    /// Appends a message; `encode` writes it behind the others.
    pub(super) fn push(&mut self, entry: Entry, encode: impl FnOnce(MessageId, &mut BytesMut)) {
        encode(entry.id, &mut self.request);
        self.entries.push(entry);
        self.ends.push(self.request.len());
    }

    /// The encoded request; a batch is taken once, retries share the bytes.
    pub(super) fn take_request(&mut self) -> Bytes {
        std::mem::take(&mut self.request).freeze()
    }

    /// Whether its messages may go on without each other.
    pub(super) fn can_part(&self) -> bool {
        self.formed == Formed::ByProducer && self.entries.len() > 1
    }

    /// Each message in a batch of its own, in order; `request` is what was taken from this one.
    pub(super) fn part(self, request: &Bytes) -> impl DoubleEndedIterator<Item = Self> {
        let Self { entries, ends, accepted, formed, .. } = self;
        let begins: Vec<usize> = std::iter::once(0).chain(ends.iter().copied()).collect();
        let request = request.clone();
        entries.into_iter().zip(begins).zip(ends).map(move |((entry, begin), end)| Self {
            request: BytesMut::from(&request[begin..end]),
            entries: vec![entry],
            ends: vec![end - begin],
            formed,
            accepted,
        })
    }

    /// Tells each waiter its outcome.
    pub(super) fn tell(self, outcomes: Vec<Outcome>) {
        assert_eq!(self.entries.len(), outcomes.len(), "one outcome per message");
        for (entry, outcome) in self.entries.into_iter().zip(outcomes) {
            entry.tell(outcome);
        }
    }

    /// The same refusal for all.
    pub(super) fn refusals(&self, reason: RefusedReason, message: &str) -> Vec<Outcome> {
        let refuse = |entry: &Entry| Outcome::Refused(Refused::new(reason, message).with_id(entry.id));
        self.entries.iter().map(refuse).collect()
    }

    /// The same doubt for all.
    pub(super) fn unknowns(&self, why: &str) -> Vec<Outcome> {
        let unknown = |entry: &Entry| Outcome::Unknown(Unknown { why: why.to_owned(), message_id: entry.id });
        self.entries.iter().map(unknown).collect()
    }
}
