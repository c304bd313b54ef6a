//! What is said and heard on the streams of one topic, without the streams: what the node says goes in, what is to be said to
//! it comes out.
//!
//! ```text
//!   Batch ─► buffer ─► application         Credit ◄─ taken from the buffer, arrived
//!   Settled ─► whoever waits for it        Settle ◄─ orders, what goes back
//!   End, or none: what waits is handed out, unless it may be at another consumer
//! ```
//! What waits in the buffer is handed out once, while its delivery lives as far as can be known, and in a group that keeps the
//! order, in that: whatever goes back takes along what is behind it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tercet_proto::client::v1::{Batch, Credit, End, EndReason, Settled, consume_answer, consume_request::Content};
use tokio::time::Instant;

use super::{
    buffer::{Amount, Buffer},
    received::{ReceivedMessage, Reference},
    settling::{Fate, ORDER_MESSAGES_MAX, Order, Settling},
};
use crate::{broker_group::BrokerGroup, error::Error};

/// Both sides of the conversations about one topic, one stream after the other.
#[derive(Debug)]
pub(super) struct Dialogue {
    topic: Arc<str>,
    /// Whose stream is open.
    group: BrokerGroup,
    /// The number of the topic in the buffer.
    source: usize,
    buffer: Arc<Buffer>,
    settling: Settling,
    /// How long a batch may wait for the application.
    stale_after: Duration,
    /// Whether the group keeps the order, on the stream that is open.
    fifo: bool,
    /// The last batch that has arrived, the last of which that was said, and the last of which the node is known to have heard.
    arrived: u64,
    confirmed: u64,
    known_to_node: u64,
    /// What had been confirmed before each request that has no answer yet.
    confirmed_before: VecDeque<(u64, u64)>,
    /// The receive that the last batch was a part of; its other parts may still come.
    receive: Option<u64>,
    /// Whether they go back: in a group that keeps the order, behind a part that went back.
    receive_goes_back: bool,
    /// Nothing more is wanted.
    leaving: bool,
}

impl Dialogue {
    pub(super) fn new(topic: Arc<str>, source: usize, buffer: Arc<Buffer>, invisible: Duration) -> Self {
        Self {
            topic,
            group: BrokerGroup::default(),
            source,
            buffer,
            settling: Settling::default(),
            // What is handed out has at least the other half of its time left.
            stale_after: invisible / 2,
            fifo: false,
            arrived: 0,
            confirmed: 0,
            known_to_node: 0,
            confirmed_before: VecDeque::new(),
            receive: None,
            receive_goes_back: false,
            leaving: false,
        }
    }

    /// A stream is open.
    pub(super) fn begin(&mut self, group: BrokerGroup, fifo: bool) {
        self.group = group;
        self.settling.begin();
        self.buffer.begin(self.source);
        self.fifo = fifo;
        (self.arrived, self.confirmed, self.known_to_node) = (0, 0, 0);
        self.confirmed_before.clear();
        (self.receive, self.receive_goes_back) = (None, false);
    }

    /// The credit of a new stream.
    pub(super) fn room(&self, window: Amount) -> Credit {
        let Amount { messages, bytes } = self.buffer.room(self.source, window);
        Credit { messages, bytes, arrived: 0 }
    }

    /// The node has said something; perhaps that this is the end.
    pub(super) fn hear(&mut self, content: consume_answer::Content) -> Option<End> {
        match content {
            consume_answer::Content::Batch(batch) => self.keep(batch),
            consume_answer::Content::Settled(settled) => self.answered(&settled),
            consume_answer::Content::End(end) => {
                if matches!(end.reason(), EndReason::Unspecified | EndReason::Overloaded) {
                    // It may take this client for one that has gone, or that never says what has arrived.
                    self.broke();
                }
                return Some(end);
            }
            consume_answer::Content::Opened(_) => {}
        }
        None
    }

    /// What there is to say: room, what has arrived, and what becomes of messages.
    pub(super) fn say(&mut self) -> Vec<Content> {
        let released = self.buffer.take_released(self.source);
        let Amount { messages, bytes } = if self.leaving { Amount::default() } else { released };
        let mut said = Vec::new();
        // Before what is said of these messages.
        if messages > 0 || self.arrived > self.confirmed {
            self.confirmed = self.arrived;
            said.push(Content::Credit(Credit { messages, bytes, arrived: self.arrived }));
        }
        while let Some(settle) = self.settling.next() {
            self.confirmed_before.push_back((settle.number, self.confirmed));
            said.push(Content::Settle(settle));
        }
        said
    }

    fn answered(&mut self, settled: &Settled) {
        if let Some(at) = self.confirmed_before.iter().position(|(number, _)| *number == settled.number) {
            let (_, confirmed) = self.confirmed_before.remove(at).expect("found there");
            // The node reads what is said in its order.
            self.known_to_node = self.known_to_node.max(confirmed);
        }
        self.settling.answered(settled);
    }

    /// The stream has broken without an end, or by one that the node gives to those of whom it hears nothing. What the node does not know to have arrived it gives back, if it lives: that may
    /// be at another consumer, and is not handed out here as well.
    pub(super) fn broke(&mut self) {
        let from = if self.fifo { 0 } else { self.known_to_node + 1 };
        let references = self.buffer.take_from(self.source, from);
        self.give_back(references);
    }

    /// The application says what becomes of messages.
    pub(super) fn order(&mut self, orders: impl IntoIterator<Item = Order>) {
        self.settling.push(orders);
    }

    /// Whether another order would go out at once.
    pub(super) fn takes_orders(&self) -> bool {
        self.settling.has_room()
    }

    /// Whether nothing waits for anything.
    pub(super) fn is_idle(&self) -> bool {
        self.settling.is_idle()
    }

    /// Nothing can be done.
    pub(super) fn fail(&mut self, error: Error) {
        self.settling.fail(&error);
        self.buffer.fail(self.source, error);
    }

    /// When what waits longest has waited for too long.
    pub(super) fn stale_at(&self) -> Option<Instant> {
        self.buffer.oldest(self.source).map(|oldest| oldest + self.stale_after)
    }

    /// What waited for long in the buffer comes again with all of its time, to whoever is faster; it did not count.
    pub(super) fn give_back_stale(&mut self) {
        self.give_back_older(self.stale_after);
    }

    /// Nobody will take what waits, nor anything that comes.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        self.give_back_older(Duration::ZERO);
    }

    fn give_back_older(&mut self, age: Duration) {
        let references = self.buffer.take_stale(self.source, age, self.fifo);
        // With the order, all that waited is among it, the last batch too.
        self.receive_goes_back |= self.fifo && !references.is_empty();
        self.give_back(references);
    }

    fn give_back(&mut self, references: Vec<Reference>) {
        let fate = Fate::Hidden { invisible_ms: 0, uncounted: true };
        let order = |some: &[_]| Order { references: some.to_vec(), fate, waiter: None };
        self.settling.push(references.chunks(ORDER_MESSAGES_MAX).map(order));
    }

    fn keep(&mut self, batch: Batch) {
        self.arrived = batch.number;
        if self.receive != Some(batch.nonce) {
            (self.receive, self.receive_goes_back) = (Some(batch.nonce), false);
        }
        let amount = Amount { messages: batch.messages.len() as u64, bytes: batch.bytes };
        let (mut messages, mut back) = (Vec::with_capacity(batch.messages.len()), Vec::new());
        for (reference, message) in ReceivedMessage::of_batch(&self.topic, self.group, batch) {
            match message {
                _ if self.receive_goes_back => back.push(reference),
                Ok(message) => messages.push(message),
                Err(error) => {
                    // It comes again when its time has passed, and with the order what is behind it must not come before.
                    self.receive_goes_back = self.fifo;
                    self.buffer.fail(self.source, error);
                }
            }
        }
        self.buffer.put(self.source, self.arrived, amount, messages);
        self.give_back(back);
    }
}

#[cfg(test)]
#[path = "dialogue_model.rs"]
mod model;
#[cfg(test)]
#[path = "dialogue_tests.rs"]
mod tests;
