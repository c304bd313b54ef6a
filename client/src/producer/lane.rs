//! A lane: the messages of a topic that share one order of sequence numbers. A state machine without I/O.
//!
//! ```text
//!   push ─► open batch ─► closed batches ─► next() ─► in flight ─► ended()
//!           grows while the lane is busy              at most `requests_in_flight_max`
//! ```
//! Messages wait for room in flight, and little else: an idle lane sends a single message at once, a busy one collects for a
//! moment what comes meanwhile into its next batch.
//!
//! Sequence numbers are given when a batch leaves, so that a message that expired before it was ever sent uses none.
//! Each request says which sequence is the lowest in flight: the broker keeps the results from there on, for a bounded
//! number of sequences, so a lane never has unfinished ones further apart than that.
//!
//! A request that ended, however it did, is below the lowest of the next one. The broker then refuses whatever may still
//! arrive of it: in a FIFO lane, where one request is in flight and gaps are refused, nothing is stored behind its
//! successors. A lane that the broker has forgotten goes on where it stands, because what it sends for the first time
//! says so.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use tercet_proto::limits::SEQUENCE_SPAN_MAX;
use tokio::time::Instant;

use super::batch::{Batch, Formed};
use crate::transport::SendHeaders;

/// A request beyond the first in flight leaves when at least this many bytes wait for it, and at least as many as the
/// average request in flight has: smaller ones wait for an answer, which costs less than a request of their own.
const BUSY_REQUEST_BYTES_MIN: usize = 32 << 10;

/// A smaller one leaves after this, if there is room in flight: where an answer takes long, waiting for one and then for one's
/// own would take twice as long. Longer than what many senders that were answered together take to send again.
const LITTLE_WAITS_MAX: Duration = Duration::from_millis(1);

/// A lane's producer is its own and counts on for ever, so it needs no second one.
const EPOCH: u64 = 1;

/// What a lane orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing: several requests may be in flight.
    Free,
    /// The messages of each message group: one request is in flight.
    Fifo,
}

/// The bounds of a lane's batches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) messages_max: usize,
    pub(super) bytes_max: usize,
    pub(super) in_flight_max: usize,
    pub(super) send_timeout: Duration,
}

/// What to do next with a batch.
pub(super) enum Step {
    /// Send it under these numbers until the deadline.
    Send { batch: Batch, headers: SendHeaders, deadline: Instant },
    /// Its time passed before it was ever sent: it is not stored.
    Expire(Batch),
}

/// Invariants: in flight are at most `in_flight_max` batches, a FIFO lane has at most one; the sequences in flight
/// lie below `next_sequence` and within [`SEQUENCE_SPAN_MAX`] of each other.
pub(super) struct Lane {
    limits: Limits,
    producer: u128,
    next_sequence: u64,
    open: Option<Batch>,
    closed: VecDeque<Batch>,
    /// First sequence of each batch in flight, and its bytes.
    in_flight: BTreeMap<u64, usize>,
    bytes_in_flight: usize,
    shut: bool,
}

impl Lane {
    /// A lane with a producer id of its own.
    pub(super) fn new(order: Order, limits: Limits, producer: u128) -> Self {
        let limits = Limits { in_flight_max: if order == Order::Fifo { 1 } else { limits.in_flight_max }, ..limits };
        Self {
            limits,
            producer,
            next_sequence: 0,
            open: None,
            closed: VecDeque::new(),
            in_flight: BTreeMap::new(),
            bytes_in_flight: 0,
            shut: false,
        }
    }

    /// The batch that takes a message of about `bytes` encoded bytes: the open one if the message fits, else a new one.
    pub(super) fn batch_for(&mut self, bytes: usize, now: Instant) -> &mut Batch {
        assert!(!self.shut, "nothing is sent through a closed producer");
        let full = self.open.as_ref().is_some_and(|batch| {
            batch.entries.len() >= self.limits.messages_max
                || batch.request.len() + bytes > self.limits.bytes_max
                || now.saturating_duration_since(batch.accepted) > self.span_max()
        });
        if full {
            self.close_open();
        }
        self.open.get_or_insert_with(|| Batch::new(now, Formed::ByProducer))
    }

    /// Adds a batch that travels alone, behind all that came before it.
    pub(super) fn push_whole(&mut self, batch: Batch) {
        assert!(!self.shut, "nothing is sent through a closed producer");
        assert!(!batch.entries.is_empty(), "a request carries a message");
        self.close_open();
        self.closed.push_back(batch);
    }

    /// When `next` has something to return: a time that may have passed. Nothing as long as that needs a message more, or the end
    /// of a request.
    pub(super) fn leaves_at(&self) -> Option<Instant> {
        let (first, is_open) =
            self.closed.front().map(|batch| (batch, false)).or(self.open.as_ref().map(|batch| (batch, true)))?;
        let busy = self.in_flight.len();
        let lowest = self.in_flight.keys().next().copied().unwrap_or(self.next_sequence);
        let span = self.next_sequence - lowest + first.entries.len() as u64;
        if busy >= self.limits.in_flight_max || span > SEQUENCE_SPAN_MAX {
            return None;
        }
        let is_little = busy > 0 && is_open && first.request.len() < self.worthwhile_bytes();
        Some(if is_little { first.accepted + LITTLE_WAITS_MAX } else { first.accepted })
    }

    /// The next batch, if there is room in flight for it.
    pub(super) fn next(&mut self, now: Instant) -> Option<Step> {
        if self.leaves_at().is_none_or(|at| at > now) {
            return None;
        }
        if self.closed.is_empty() {
            self.close_open();
        }
        let batch = self.closed.pop_front().expect("something leaves, and it is closed now");
        let deadline = batch.accepted + self.limits.send_timeout;
        if now >= deadline {
            return Some(Step::Expire(batch));
        }
        let sequence = self.next_sequence;
        self.next_sequence += batch.entries.len() as u64;
        let repeated = self.in_flight.insert(sequence, batch.request.len());
        self.bytes_in_flight += batch.request.len();
        assert!(repeated.is_none(), "a sequence is given once");
        assert!(self.in_flight.len() <= self.limits.in_flight_max, "requests in flight are bounded");
        let lowest = *self.in_flight.keys().next().expect("this one is");
        assert!(self.next_sequence - lowest <= SEQUENCE_SPAN_MAX, "what is in doubt fits the broker's window");
        let headers = SendHeaders { producer: self.producer, epoch: EPOCH, sequence, lowest, again: false };
        Some(Step::Send { batch, headers, deadline })
    }

    /// A batch whose request is at fault ended, surely not stored: its messages go again, each by itself, before all others.
    pub(super) fn again_by_themselves(&mut self, batch: Batch, request: &Bytes) {
        batch.part(request).rev().for_each(|alone| self.closed.push_front(alone));
    }

    /// A request has ended for good, and its sequences with it.
    pub(super) fn ended(&mut self, headers: SendHeaders) {
        let bytes = self.in_flight.remove(&headers.sequence).expect("only what is in flight ends");
        self.bytes_in_flight -= bytes;
    }

    /// Takes no more messages; those that are in the lane are still sent.
    pub(super) fn shut(&mut self) {
        self.shut = true;
    }

    /// Lets go of everything: whoever drove the lane does not any more.
    pub(super) fn abandon(&mut self) {
        self.shut = true;
        self.open = None;
        self.closed.clear();
    }

    pub(super) fn is_shut(&self) -> bool {
        self.shut
    }

    /// Whether nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.closed.is_empty() && self.in_flight.is_empty()
    }

    /// From this size on an open batch is worth a request of its own while others are in flight.
    fn worthwhile_bytes(&self) -> usize {
        let average = self.bytes_in_flight / self.in_flight.len().max(1);
        average.max(BUSY_REQUEST_BYTES_MIN).min(self.limits.bytes_max / 2)
    }

    /// The messages of one batch share its deadline, so they are accepted within a short time of each other.
    fn span_max(&self) -> Duration {
        (self.limits.send_timeout / 8).min(Duration::from_secs(1))
    }

    fn close_open(&mut self) {
        self.closed.extend(self.open.take());
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
