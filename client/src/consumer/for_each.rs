//! Handlers: what an application does with each message, many at a time.

use std::{
    collections::HashMap,
    fmt,
    future::{Future, IntoFuture},
    sync::Arc,
    time::Duration,
};

use futures::{
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt as _},
};
use tokio::{
    task::{Id as TaskId, JoinError, JoinSet},
    time::{Instant, sleep_until},
};

use super::{
    handle::Consumer,
    in_hand::{Id, InHand, Settlement},
    received::{ReceivedMessage, Reference},
    settling::{Fate, INVISIBLE_MAX, ORDER_MESSAGES_MAX},
};
use crate::error::Error;

/// Most messages that may be handled at a time.
pub(super) const HANDLED_AT_ONCE_MAX: usize = 1024;
/// Messages that are handled, and of which the broker has not heard yet.
const SETTLEMENTS_MAX: usize = 1024;

/// What has become of a message in its handler.
///
/// A handler may also answer with a `()`, which is [`Done`](Self::Done), or with a `Result`, of which an error is
/// [`Retry`](Self::Retry) and is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handled {
    /// The group does not get it again.
    Done,
    /// It failed: it is delivered again, later each time, as the next attempt; in the end to the dead-letter queue.
    Retry,
    /// The same after this time, up to 12 h.
    RetryAfter(Duration),
    /// It was not tried: it is delivered again at once, and this attempt does not count.
    GiveBack,
}

impl From<()> for Handled {
    fn from((): ()) -> Self {
        Self::Done
    }
}

impl<E: fmt::Display> From<Result<(), E>> for Handled {
    fn from(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(error) => {
                tracing::warn!(%error, "a message could not be handled");
                Self::Retry
            }
        }
    }
}

/// Handles the messages of a consumer once it is awaited; made by [`Consumer::for_each_concurrent`].
#[must_use = "nothing is handled before it is awaited"]
pub struct ForEach<F> {
    consumer: Consumer,
    limit: usize,
    handler: F,
    until: BoxFuture<'static, ()>,
    retry_first: Duration,
    retry_max: Duration,
}

impl Consumer {
    /// Calls `handler` for each message, for up to `limit` (1 to 1,024) of them at a time, and tells the broker what has become of it; until the
    /// consumer is closed, or what [`until`](ForEach::until) names ends.
    ///
    /// While a message is handled, however long that takes, its delivery is renewed. Messages of one message group are handled one
    /// after the other, in their order; if one is to be retried, those behind it are given back, and come after it. Each handler is
    /// a task of its own: it may block nobody but itself by waiting, and if it panics its message is retried. It does not
    /// acknowledge by itself.
    ///
    #[doc = "```no_run"]
    #[doc = include_str!("../../examples/handlers.rs")]
    #[doc = "```"]
    ///
    /// Errors that can pass are logged and waited out. Dropping the future ends the handlers where they are; their messages
    /// come again once their time has passed.
    ///
    /// # Errors
    /// Of what is awaited: if topic or group does not exist, or `limit` is out of its bounds; after the handlers that ran have
    /// come to their end.
    pub fn for_each_concurrent<F, R>(&self, limit: usize, handler: F) -> ForEach<F>
    where
        F: Fn(ReceivedMessage) -> R + Send + 'static,
        R: Future<Output: Into<Handled>> + Send + 'static,
    {
        ForEach::new(self.clone(), limit, handler)
    }
}

impl<F> ForEach<F> {
    pub(super) fn new(consumer: Consumer, limit: usize, handler: F) -> Self {
        Self {
            consumer,
            limit,
            handler,
            until: Box::pin(std::future::pending()),
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(600),
        }
    }

    /// Ends when this does, such as a signal: handlers that run come to their end, and what has not begun is given back.
    pub fn until(mut self, end: impl Future<Output = ()> + Send + 'static) -> Self {
        self.until = Box::pin(end);
        self
    }

    /// When a message is delivered again that is to be retried: after `first`, then after twice as long each time, up to `max`.
    /// Default: 1 s and 10 min; up to 12 h.
    pub fn retry_delay(mut self, first: Duration, max: Duration) -> Self {
        (self.retry_first, self.retry_max) = (first, max);
        self
    }
}

impl<F, R> IntoFuture for ForEach<F>
where
    F: Fn(ReceivedMessage) -> R + Send + 'static,
    R: Future<Output: Into<Handled>> + Send + 'static,
{
    type Output = Result<(), Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { consumer, limit, handler, until, retry_first, retry_max } = self;
            if !(1..=HANDLED_AT_ONCE_MAX).contains(&limit) {
                let problem = format!("{limit} is not within 1 to {HANDLED_AT_ONCE_MAX}");
                return Err(Error::Setting { name: "limit", problem });
            }
            let retry = Retry { first: retry_first, max: retry_max.min(INVISIBLE_MAX) };
            // Whoever closes the consumer waits for the handlers.
            let _standing = consumer.handling();
            let mut run = Run {
                hand: InHand::new(consumer.invisible_duration()),
                consumer,
                limit,
                retry,
                handlers: JoinSet::new(),
                tasks: HashMap::new(),
                settlements: FuturesUnordered::new(),
                renewals: FuturesUnordered::new(),
                ended: None,
            };
            run.until(until, handler).await
        })
    }
}

/// How long a message waits for its next attempt.
#[derive(Debug, Clone, Copy)]
struct Retry {
    first: Duration,
    max: Duration,
}

impl Retry {
    fn after(self, attempt: u32) -> Duration {
        let doubled = attempt.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doubled).min(self.max)
    }
}

/// The messages of a batch of renewals, and what came of it.
type Renewed = (Vec<(Id, Reference)>, Result<Vec<u64>, Error>);

struct Run {
    consumer: Consumer,
    limit: usize,
    retry: Retry,
    hand: InHand,
    handlers: JoinSet<Handled>,
    /// Whose message a handler has, and which attempt it is.
    tasks: HashMap<TaskId, (Id, u32)>,
    settlements: FuturesUnordered<BoxFuture<'static, ()>>,
    renewals: FuturesUnordered<BoxFuture<'static, Renewed>>,
    /// Nothing more begins, and what the whole ends with.
    ended: Option<Result<(), Error>>,
}

impl Run {
    async fn until<F, R>(&mut self, mut end: BoxFuture<'static, ()>, handler: F) -> Result<(), Error>
    where
        F: Fn(ReceivedMessage) -> R,
        R: Future<Output: Into<Handled>> + Send + 'static,
    {
        loop {
            while let Some((id, message)) = self.hand.start(self.limit) {
                let attempt = message.attempt();
                let handled = handler(message);
                let task = self.handlers.spawn(async move { handled.await.into() });
                self.tasks.insert(task.id(), (id, attempt));
            }
            let is_idle = self.hand.is_empty() && self.settlements.is_empty();
            if let Some(result) = self.ended.take_if(|_| is_idle) {
                return result;
            }
            let renew_at = self.hand.renew_at();
            let room = self.hand.room(self.limit);
            let receives = self.ended.is_none() && room > 0 && self.settlements.len() < SETTLEMENTS_MAX;
            tokio::select! {
                biased;
                () = &mut end, if self.ended.is_none() => self.end(Ok(())),
                Some(joined) = self.handlers.join_next_with_id() => self.finish(joined),
                Some((messages, answer)) = self.renewals.next() => self.renewed(&messages, answer),
                Some(()) = self.settlements.next() => {}
                () = sleep_until(renew_at.unwrap_or_else(Instant::now)), if renew_at.is_some() => self.renew(),
                received = self.consumer.receive_at_most(room), if receives => match received {
                    Ok(messages) => self.hand.admit(messages, Instant::now()),
                    Err(Error::Closed) => self.end(Ok(())),
                    // The consumer goes on by itself.
                    Err(error) if error.can_retry() => tracing::warn!(%error, "cannot receive; it is tried again"),
                    Err(error) => self.end(Err(error)),
                },
            }
        }
    }

    fn end(&mut self, result: Result<(), Error>) {
        self.ended = Some(result);
        let waiting = self.hand.stop();
        self.settle(waiting);
    }

    fn finish(&mut self, joined: Result<(TaskId, Handled), JoinError>) {
        let (task, handled) = joined.unwrap_or_else(|error| {
            tracing::error!(%error, "a handler panicked");
            (error.id(), Handled::Retry)
        });
        let (id, attempt) = self.tasks.remove(&task).expect("a handler has a message");
        let hidden = |time: Duration, uncounted| {
            let time = time.min(INVISIBLE_MAX);
            Fate::Hidden { invisible_ms: u64::try_from(time.as_millis()).expect("12 hours at most"), uncounted }
        };
        let fate = match handled {
            Handled::Done => Fate::Done,
            Handled::Retry => hidden(self.retry.after(attempt), false),
            Handled::RetryAfter(time) => hidden(time, false),
            Handled::GiveBack => hidden(Duration::ZERO, true),
        };
        let settlements = self.hand.finish(id, fate);
        self.settle(settlements);
    }

    fn settle(&mut self, settlements: Vec<Settlement>) {
        for Settlement { topic, reference, fate } in settlements {
            let consumer = self.consumer.clone();
            self.settlements.push(Box::pin(async move {
                if let Err(error) = consumer.order_and_wait("settle", &topic, vec![reference], fate).await {
                    tracing::warn!(%error, %topic, offset = reference.offset, "a message may be delivered again");
                }
            }));
        }
    }

    fn renew(&mut self) {
        let invisible = self.consumer.invisible_duration();
        let invisible_ms = u64::try_from(invisible.as_millis()).expect("12 hours at most");
        let fate = Fate::Hidden { invisible_ms, uncounted: false };
        for (topic, all) in self.hand.renew_due(Instant::now()) {
            for some in all.chunks(ORDER_MESSAGES_MAX) {
                let (some, consumer, topic) = (some.to_vec(), self.consumer.clone(), Arc::clone(&topic));
                self.renewals.push(Box::pin(async move {
                    let references = some.iter().map(|(_, reference)| *reference).collect();
                    let answer = consumer.order_and_wait("renew", &topic, references, fate).await;
                    (some, answer)
                }));
            }
        }
    }

    fn renewed(&mut self, messages: &[(Id, Reference)], answer: Result<Vec<u64>, Error>) {
        let now = Instant::now();
        let deadlines: Vec<Option<u64>> = match answer {
            Ok(deadlines) => deadlines.into_iter().map(Some).collect(),
            Err(error) => {
                tracing::warn!(%error, "deliveries cannot be renewed; it is tried again");
                vec![None; messages.len()]
            }
        };
        let settled = messages.iter().zip(deadlines).filter_map(|((id, reference), deadline)| {
            if deadline == Some(0) {
                tracing::warn!(offset = reference.offset, "a message is delivered again while it is handled");
            }
            self.hand.renewed(*id, deadline, now)
        });
        let settled = settled.collect();
        self.settle(settled);
    }
}

impl<F> fmt::Debug for ForEach<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForEach").field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_waits_longer_for_each_attempt_and_never_overflows() {
        let retry = Retry { first: Duration::from_secs(1), max: Duration::from_secs(600) };
        let seconds = [1, 2, 3, 10, 11, 33, u32::MAX].map(|attempt| retry.after(attempt).as_secs());
        assert_eq!(seconds, [1, 2, 4, 512, 600, 600, 600]);
    }

    #[test]
    fn an_error_is_a_retry() {
        assert_eq!(Handled::from(()), Handled::Done);
        assert_eq!(Handled::from(Ok::<(), Error>(())), Handled::Done);
        assert_eq!(Handled::from(Err::<(), _>("no")), Handled::Retry);
    }
}
