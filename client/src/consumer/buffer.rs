//! What has arrived and nobody has taken, over all topics of a consumer, and the credit that follows from it.
//!
//! Invariant: what a topic holds here, what its stream may still push and what is to be granted make up its window.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::received::{ReceivedMessage, Reference};
use crate::error::Error;

/// Messages and their bytes, as the broker counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Amount {
    fn add(&mut self, other: Amount) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

/// Shared by the application and the workers of a consumer.
#[derive(Debug)]
pub(super) struct Buffer {
    state: Mutex<State>,
    filled: Notify,
    /// One for each topic.
    taken: Vec<Notify>,
}

#[derive(Debug)]
struct State {
    held: VecDeque<Held>,
    /// Taken, and not granted again yet, by topic.
    released: Vec<Amount>,
    /// By topic; one that nobody takes is not followed by another.
    errors: Vec<Option<Error>>,
    closed: bool,
}

#[derive(Debug)]
struct Held {
    topic: usize,
    /// On the stream that is open; 0 if it came on an earlier one.
    number: u64,
    arrived: Instant,
    amount: Amount,
    messages: Vec<ReceivedMessage>,
}

impl Buffer {
    pub(super) fn new(topics: usize) -> Self {
        let state = State {
            held: VecDeque::new(),
            released: vec![Amount::default(); topics],
            errors: (0..topics).map(|_| None).collect(),
            closed: false,
        };
        Self { state: Mutex::new(state), filled: Notify::new(), taken: (0..topics).map(|_| Notify::new()).collect() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// A batch has arrived. One of which nothing is left counts as taken.
    pub(super) fn put(&self, topic: usize, number: u64, amount: Amount, messages: Vec<ReceivedMessage>) {
        let mut state = self.lock();
        if messages.is_empty() {
            state.released[topic].add(amount);
        } else {
            state.held.push_back(Held { topic, number, arrived: Instant::now(), amount, messages });
            self.filled.notify_one();
        }
    }

    /// What a topic has come to, told once to whoever receives next.
    pub(super) fn fail(&self, topic: usize, error: Error) {
        self.lock().errors[topic].get_or_insert(error);
        self.filled.notify_one();
    }

    /// Whoever waits, or comes later, is told so.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// The next batch or the first `max` messages of it, or an error, as soon as there is one.
    pub(super) async fn next(&self, max: usize) -> Result<Vec<ReceivedMessage>, Error> {
        loop {
            let filled = self.filled.notified();
            if let Some(next) = self.take(max) {
                return next;
            }
            filled.await;
        }
    }

    fn take(&self, max: usize) -> Option<Result<Vec<ReceivedMessage>, Error>> {
        let mut state = self.lock();
        let next = match state.errors.iter_mut().find_map(Option::take) {
            Some(error) => Err(error),
            None if state.closed => Err(Error::Closed),
            None => {
                let mut held = state.held.pop_front()?;
                let rest = held.split_off(max);
                state.released[held.topic].add(held.amount);
                self.taken[held.topic].notify_one();
                rest.into_iter().for_each(|rest| state.held.push_front(rest));
                Ok(held.messages)
            }
        };
        if state.closed || !state.held.is_empty() || state.errors.iter().any(Option::is_some) {
            self.filled.notify_one();
        }
        Some(next)
    }

    /// Returns when something of the topic was taken; for its worker.
    pub(super) async fn taken(&self, topic: usize) {
        self.taken[topic].notified().await;
    }

    /// What is to be granted again. The caller grants it.
    pub(super) fn take_released(&self, topic: usize) -> Amount {
        std::mem::take(&mut self.lock().released[topic])
    }

    /// The whole credit of a new stream: the window without what is held here.
    pub(super) fn room(&self, topic: usize, window: Amount) -> Amount {
        let mut state = self.lock();
        state.released[topic] = Amount::default();
        let mut held = Amount::default();
        state.held.iter().filter(|of| of.topic == topic).for_each(|of| held.add(of.amount));
        Amount {
            messages: window.messages.saturating_sub(held.messages),
            bytes: window.bytes.saturating_sub(held.bytes),
        }
    }

    /// When the batch that waits longest has arrived.
    pub(super) fn oldest(&self, topic: usize) -> Option<Instant> {
        self.lock().held.iter().find(|held| held.topic == topic).map(|held| held.arrived)
    }

    /// Takes out what nobody took for so long, to be given back; or, if the order is kept, all that waits of the topic as soon
    /// as some of it has waited for so long: what stayed would come before what is given back. It counts as taken.
    pub(super) fn take_stale(&self, topic: usize, age: Duration, ordered: bool) -> Vec<Reference> {
        let mut state = self.lock();
        let is_stale = |held: &Held| held.topic == topic && held.arrived.elapsed() >= age;
        let all = ordered && state.held.iter().any(is_stale);
        state.take_out(|held| is_stale(held) || all && held.topic == topic)
    }

    /// Takes out what has arrived with this number or a later one on the stream that was the last, to be given back. It counts
    /// as taken.
    pub(super) fn take_from(&self, topic: usize, number: u64) -> Vec<Reference> {
        self.lock().take_out(|held| held.topic == topic && held.number >= number)
    }

    /// Another stream begins.
    pub(super) fn begin(&self, topic: usize) {
        self.lock().held.iter_mut().filter(|held| held.topic == topic).for_each(|held| held.number = 0);
    }
}

impl Held {
    /// What is behind the first `count` messages; their part of the credit is by their number.
    fn split_off(&mut self, count: usize) -> Option<Held> {
        if count >= self.messages.len() {
            return None;
        }
        let (all, first) = (self.messages.len() as u64, count as u64);
        // Some of it cannot be read, and is not there: the last part has its share as well.
        let Amount { messages, bytes } = self.amount;
        let amount = Amount { messages: messages * first / all, bytes: bytes * first / all };
        let rest = Amount { messages: messages - amount.messages, bytes: bytes - amount.bytes };
        self.amount = amount;
        Some(Held { amount: rest, messages: self.messages.split_off(count), ..*self })
    }
}

impl State {
    fn take_out(&mut self, out: impl Fn(&Held) -> bool) -> Vec<Reference> {
        let (out, rest): (VecDeque<Held>, VecDeque<Held>) = self.held.drain(..).partition(out);
        self.held = rest;
        out.iter().for_each(|held| self.released[held.topic].add(held.amount));
        out.iter().flat_map(|held| &held.messages).map(|message| message.reference).collect()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tercet_proto::client::v1::{Batch, Delivered};

    use super::*;

    const TEN: Amount = Amount { messages: 10, bytes: 1000 };

    fn ten(offset: u64) -> Vec<ReceivedMessage> {
        let messages = (offset..offset + 10).map(|offset| Delivered { offset, ..Delivered::default() }).collect();
        let batch = Batch { messages, ..Batch::default() };
        ReceivedMessage::of_batch(&"t".into(), crate::broker_group::BrokerGroup(0), batch)
            .map(|(_, message)| message.unwrap())
            .collect()
    }

    #[tokio::test]
    async fn what_is_taken_is_granted_again_once() {
        let buffer = Buffer::new(2);
        buffer.put(1, 1, TEN, ten(0));
        buffer.put(1, 1, TEN, ten(0));
        assert_eq!(buffer.take_released(1), Amount::default());
        buffer.next(usize::MAX).await.unwrap();
        assert!(buffer.taken(1).now_or_never().is_some() && buffer.taken(0).now_or_never().is_none());
        assert_eq!((buffer.take_released(1), buffer.take_released(1)), (TEN, Amount::default()));
    }

    #[tokio::test]
    async fn a_part_of_a_batch_gives_its_part_of_the_credit_back_and_all_parts_all_of_it() {
        let buffer = Buffer::new(1);
        let amount = Amount { messages: 11, bytes: 1003 };
        buffer.put(0, 1, amount, ten(0));
        let mut released = Amount::default();
        for (max, first, count) in [(3, 0, 3), (1, 3, 1), (5, 4, 5), (5, 9, 1)] {
            let messages = buffer.next(max).await.unwrap();
            assert_eq!((messages[0].offset(), messages.len()), (first, count));
            released.add(buffer.take_released(0));
            assert_eq!(released == amount, first == 9, "{released:?}");
        }
        assert!(buffer.next(1).now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_new_stream_is_granted_the_window_without_what_is_held() {
        let buffer = Buffer::new(1);
        let window = Amount { messages: 25, bytes: 10_000 };
        buffer.put(0, 1, TEN, ten(0));
        buffer.put(0, 1, TEN, ten(0));
        buffer.next(usize::MAX).await.unwrap();
        assert_eq!(buffer.room(0, window), Amount { messages: 15, bytes: 9000 });
        assert_eq!(buffer.take_released(0), Amount::default(), "it is part of that");
        buffer.put(0, 1, Amount { messages: 1, bytes: 99_999 }, ten(0));
        assert_eq!(buffer.room(0, window).bytes, 0);
    }

    #[tokio::test]
    async fn an_error_is_told_once_and_before_what_waits() {
        let buffer = Buffer::new(1);
        buffer.put(0, 1, TEN, ten(0));
        buffer.fail(0, Error::Closed);
        buffer.fail(0, Error::Closed);
        assert!(buffer.next(usize::MAX).await.is_err() && buffer.next(usize::MAX).await.is_ok());
        assert!(buffer.next(usize::MAX).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_goes_back_and_makes_room() {
        let buffer = Buffer::new(1);
        buffer.put(0, 1, TEN, ten(0));
        tokio::time::advance(Duration::from_secs(10)).await;
        buffer.put(0, 1, TEN, ten(10));
        assert_eq!(buffer.take_stale(0, Duration::from_secs(10), false).len(), 10);
        assert_eq!(buffer.take_released(0), TEN);
        assert_eq!(buffer.oldest(0), Some(Instant::now()));
    }

    /// The second could be of the same message group as the first, and would be handed out before it.
    #[tokio::test(start_paused = true)]
    async fn if_the_order_is_kept_what_is_behind_goes_back_as_well() {
        let buffer = Buffer::new(2);
        let (age, back) = (Duration::from_secs(10), || buffer.take_stale(0, Duration::from_secs(10), true).len());
        buffer.put(0, 1, TEN, ten(0));
        buffer.put(1, 1, TEN, ten(0));
        tokio::time::advance(age / 2).await;
        buffer.put(0, 1, TEN, ten(10));
        assert_eq!(back(), 0);
        tokio::time::advance(age / 2).await;
        assert_eq!(back(), 20);
        assert_eq!((buffer.oldest(0), buffer.oldest(1)), (None, Some(Instant::now() - age)), "the other topic's stays");
    }

    #[tokio::test]
    async fn a_batch_of_which_nothing_is_left_makes_room_at_once() {
        let buffer = Buffer::new(1);
        buffer.put(0, 1, TEN, Vec::new());
        assert_eq!((buffer.take_released(0), buffer.oldest(0)), (TEN, None));
    }

    #[tokio::test]
    async fn each_batch_wakes_somebody() {
        let buffer = std::sync::Arc::new(Buffer::new(1));
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let buffer = std::sync::Arc::clone(&buffer);
                tokio::spawn(async move { buffer.next(usize::MAX).await })
            })
            .collect();
        tokio::task::yield_now().await;
        (0..10).for_each(|_| buffer.put(0, 1, TEN, ten(0)));
        for task in waiting {
            task.await.unwrap().unwrap();
        }
    }
}
