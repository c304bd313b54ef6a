//! What an application holds: [`Consumer`].

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::stream::{self, Stream};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use super::{
    buffer::Buffer,
    dialogue::Dialogue,
    received::{ReceivedMessage, Reference},
    settling::{Fate, INVISIBLE_MAX, ORDER_MESSAGES_MAX, Order},
    worker::Worker,
};
use crate::{
    client::Client,
    code::Code,
    error::Error,
    message::{check_group, check_topic},
    options::ConsumerOptions,
};

/// Orders between the application and a worker.
const ORDERS_AHEAD: usize = 256;

/// Gets the messages of a consumer group as they become available, and says what becomes of them. Clones share everything: many
/// tasks may receive and acknowledge, each on its own.
///
/// A message that is not acknowledged within its invisible duration is delivered again, to any consumer of the group,
/// with a higher [`attempt`](ReceivedMessage::attempt). The consumer follows the leader of the broker group by itself; what
/// was received before goes on to be acknowledged there.
///
#[doc = "```no_run"]
#[doc = include_str!("../../examples/receive.rs")]
#[doc = "```"]
#[derive(Debug, Clone)]
pub struct Consumer {
    inner: Arc<Inner>,
}

/// Workers end when their orders do: when the consumer is closed, or its last clone dropped.
#[derive(Debug)]
struct Inner {
    client: Client,
    buffer: Arc<Buffer>,
    /// None once the consumer is closed.
    topics: Mutex<Vec<Topic>>,
    workers: TaskTracker,
    /// Of whoever handles messages.
    handling: TaskTracker,
    invisible_duration: Duration,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    orders: mpsc::Sender<Order>,
}

impl Client {
    /// A consumer of `topics` in `group`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If a name is malformed, `topics` is empty, or an option is out of its bounds.
    pub fn consumer<T: Into<String>>(
        &self,
        group: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
        options: ConsumerOptions,
    ) -> Result<Consumer, Error> {
        Consumer::new(self.clone(), group.into(), topics.into_iter().map(Into::into).collect(), options)
    }
}

impl Consumer {
    pub(crate) fn new(
        client: Client,
        group: String,
        topics: Vec<String>,
        options: ConsumerOptions,
    ) -> Result<Self, Error> {
        options.check()?;
        check_group(&group)?;
        topics.iter().try_for_each(|topic| check_topic(topic))?;
        if topics.is_empty() {
            return Err(Error::Setting { name: "topics", problem: "a consumer needs a topic".to_owned() });
        }
        Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let buffer = Arc::new(Buffer::new(topics.len()));
        let workers = TaskTracker::new();
        let identity = client.new_identity();
        let start = |(source, name): (usize, String)| {
            let (orders, ordered) = mpsc::channel(ORDERS_AHEAD);
            let name: Arc<str> = name.into();
            let buffered = Arc::clone(&buffer);
            let dialogue = Dialogue::new(Arc::clone(&name), source, buffered, options.invisible_duration);
            let worker = Worker {
                client: client.clone(),
                identity: identity.clone(),
                topic: Arc::clone(&name),
                group: group.clone(),
                options: options.clone(),
                source,
                buffer: Arc::clone(&buffer),
                orders: ordered,
                dialogue,
            };
            workers.spawn(worker.run());
            Topic { name, orders }
        };
        let topics = Mutex::new(topics.into_iter().enumerate().map(start).collect());
        let (handling, invisible_duration) = (TaskTracker::new(), options.invisible_duration);
        Ok(Self { inner: Arc::new(Inner { client, buffer, topics, workers, handling, invisible_duration }) })
    }

    /// The next messages, as soon as there are some: one or more of one topic, in the order in which they came. Giving up
    /// waiting loses nothing.
    ///
    /// # Errors
    /// If topic or group does not exist, or no node answers for long, or a message cannot be read. The consumer goes on
    /// trying; receiving again says what came of it. [`Error::Closed`] if it is closed.
    pub async fn receive(&self) -> Result<Vec<ReceivedMessage>, Error> {
        self.receive_at_most(usize::MAX).await
    }

    /// The same with at most `max` messages (0 is 1): the others wait for whoever receives next.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn receive_at_most(&self, max: usize) -> Result<Vec<ReceivedMessage>, Error> {
        self.inner.buffer.next(max.max(1)).await
    }

    /// The messages one by one, until the consumer is closed. Dropping the stream loses nothing; several streams share the messages.
    ///
    #[doc = "```no_run"]
    #[doc = include_str!("../../examples/stream.rs")]
    #[doc = "```"]
    ///
    /// An error does not end it: as with [`receive`](Self::receive), what comes next says what came of it.
    pub fn messages(&self) -> impl Stream<Item = Result<ReceivedMessage, Error>> + Send + use<> {
        stream::unfold(self.clone(), |consumer| async move {
            let next = match consumer.receive_at_most(1).await {
                Ok(mut one) => Ok(one.pop().expect("no batch is empty")),
                Err(Error::Closed) => return None,
                Err(error) => Err(error),
            };
            Some((next, consumer))
        })
    }

    /// Tells the broker that the message is done with: this group does not get it again. Acknowledgements that are
    /// made at the same time travel together.
    ///
    /// # Errors
    /// With code `INVALID_RECEIPT_HANDLE` if the invisible duration has passed and the message was delivered again;
    /// or if no node answers in time, in which case it may or may not be acknowledged.
    pub async fn ack(&self, message: &ReceivedMessage) -> Result<(), Error> {
        self.ack_all(std::slice::from_ref(message)).await
    }

    /// Acknowledges several messages; tries all of them, then returns the first error.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub async fn ack_all(&self, messages: &[ReceivedMessage]) -> Result<(), Error> {
        self.order_all("ack", messages, Fate::Done).await
    }

    /// Delivers the message again after `invisible_duration` from now (up to 12 h) unless it is acknowledged before.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub async fn change_invisible_duration(
        &self,
        message: &mut ReceivedMessage,
        invisible_duration: Duration,
    ) -> Result<(), Error> {
        let call = "change invisible duration";
        if invisible_duration > INVISIBLE_MAX {
            let problem = format!("{invisible_duration:?} is longer than 12 hours");
            return Err(Error::Setting { name: "invisible_duration", problem });
        }
        let invisible_ms = u64::try_from(invisible_duration.as_millis()).expect("12 hours at most");
        let fate = Fate::Hidden { invisible_ms, uncounted: false };
        let deadlines = self.order(call, message.topic(), vec![message.reference], fate).await?.await?;
        match deadlines.first() {
            Some(0) | None => Err(over(call)),
            Some(deadline) => {
                message.reference.deadline_unix_ms = *deadline;
                Ok(())
            }
        }
    }

    /// Gives messages back that were not worked on: they are delivered again at once, and this delivery does not count.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub async fn give_back(&self, messages: &[ReceivedMessage]) -> Result<(), Error> {
        self.order_all("give back", messages, Fate::Hidden { invisible_ms: 0, uncounted: true }).await
    }

    pub(super) fn handling(&self) -> TaskTrackerToken {
        self.inner.handling.token()
    }

    pub(super) fn invisible_duration(&self) -> Duration {
        self.inner.invisible_duration
    }

    /// Receives nothing more, waits for handlers to come to their end, gives back what was not received, waits for what is on its way,
    /// acknowledgements too, and ends; all clones with it. When the last clone is dropped, the same happens in the background, as
    /// long as the runtime lives. A handler that waits for this waits for itself.
    pub async fn close(&self) {
        self.inner.buffer.close();
        self.inner.handling.close();
        self.inner.handling.wait().await;
        self.inner.topics().clear();
        self.inner.workers.close();
        self.inner.workers.wait().await;
    }

    async fn order_all(&self, call: &'static str, messages: &[ReceivedMessage], fate: Fate) -> Result<(), Error> {
        let mut answers = Vec::new();
        for of_topic in messages.chunk_by(|left, right| left.topic() == right.topic()) {
            for some in of_topic.chunks(ORDER_MESSAGES_MAX) {
                let references = some.iter().map(|message| message.reference).collect();
                answers.push(self.order(call, some[0].topic(), references, fate).await?);
            }
        }
        let mut result = Ok(());
        for answer in answers {
            let answer = answer.await.and_then(|each| if each.contains(&0) { Err(over(call)) } else { Ok(()) });
            result = result.and(answer);
        }
        result
    }

    /// One order, and for each message what came of it: 0 if its delivery is over.
    pub(super) async fn order_and_wait(
        &self,
        call: &'static str,
        topic: &str,
        references: Vec<Reference>,
        fate: Fate,
    ) -> Result<Vec<u64>, Error> {
        self.order(call, topic, references, fate).await?.await
    }

    /// Hands an order to the worker of the topic; answers with what waits for what came of it.
    async fn order(
        &self,
        call: &'static str,
        topic: &str,
        references: Vec<Reference>,
        fate: Fate,
    ) -> Result<impl Future<Output = Result<Vec<u64>, Error>> + use<>, Error> {
        let orders = self.inner.orders(topic)?;
        let (waiter, answer) = oneshot::channel();
        let order = Order { references, fate, waiter: Some(waiter) };
        orders.send(order).await.map_err(|_| Error::Closed)?;
        let patience = self.inner.client.options().call_timeout;
        Ok(async move {
            match tokio::time::timeout(patience, answer).await {
                Ok(answer) => answer.map_err(|_| Error::Closed)?,
                Err(_) => Err(Error::Unavailable {
                    call,
                    waited: patience,
                    tried: "the stream of the topic".to_owned(),
                    last: "no answer".to_owned(),
                }),
            }
        })
    }
}

impl Inner {
    fn topics(&self) -> MutexGuard<'_, Vec<Topic>> {
        self.topics.lock().expect("no holder of this lock panics")
    }

    /// Where the worker of a topic takes its orders.
    fn orders(&self, topic: &str) -> Result<mpsc::Sender<Order>, Error> {
        let topics = self.topics();
        if topics.is_empty() {
            return Err(Error::Closed);
        }
        let worker = topics.iter().find(|of| of.name.as_ref() == topic).ok_or_else(|| Error::Setting {
            name: "message",
            problem: format!("topic {topic} is none of this consumer's"),
        })?;
        Ok(worker.orders.clone())
    }
}

fn over(call: &'static str) -> Error {
    let message = "the delivery is over: its time has passed or another took its place".to_owned();
    Error::Refused { call, code: Code::INVALID_RECEIPT_HANDLE, message }
}
