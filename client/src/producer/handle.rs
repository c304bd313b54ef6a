//! What an application holds: [`Producer`], and [`Pending`] for a message on its way.

use std::{
    collections::HashMap,
    future::Future,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    pin::Pin,
    sync::{Arc, OnceLock, RwLock},
    task::{Context, Poll},
};

use tokio::{runtime::Handle, sync::oneshot, time::Instant};
use tokio_util::task::TaskTracker;

use super::{
    batch::{Batch, Entry, Formed, OVERHEAD_BYTES, Waiter},
    driver::{SharedLane, drive},
    encode,
    lane::{Lane, Limits, Order},
    room::{Room, Rooms},
};
use crate::{
    client::Client,
    env,
    error::Error,
    message::Message,
    message_id::{MessageId, MessageIds},
    options::ProducerOptions,
    outcome::{Outcome, Refused, RefusedReason, Unknown},
    telemetry::Session,
};

/// Lanes of a FIFO topic: message groups are spread over them.
const FIFO_LANES: usize = 8;
/// Topics that one producer keeps lanes for. Beyond it those are dropped in which nothing is under way.
const TOPICS_MAX: usize = 4096;
/// Most bytes that encoding adds to body, keys, properties and the like: topic, ids, times, tags, lengths.
const ENCODING_BYTES: usize = 384;

/// Publishes messages. Clones share the buffer, the lanes and the identity.
///
/// Concurrent sends to a topic travel together, so many tasks (or [`Producer::send_with`] from one) reach rates that
/// one after the other cannot. Messages of one message group keep the order in which they were sent.
///
/// A message is retried, unchanged and under the same sequence number, until
/// [`send_timeout`](ProducerOptions::send_timeout) has passed; the broker stores it at most once.
///
#[doc = "```no_run"]
#[doc = include_str!("../../examples/publish.rs")]
#[doc = "```"]
#[derive(Debug, Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

struct Inner {
    options: ProducerOptions,
    client: Client,
    rooms: Rooms,
    ids: MessageIds,
    host: String,
    lanes: RwLock<Lanes>,
    drivers: TaskTracker,
    runtime: Handle,
    session: Session,
}

#[derive(Default)]
struct Lanes {
    topics: HashMap<Box<str>, Arc<TopicLanes>>,
    closed: bool,
}

/// Slot 0 is for messages without a group, the others for those with one.
type TopicLanes = [OnceLock<Arc<SharedLane>>; FIFO_LANES + 1];

/// A message on its way; resolves to its [`Outcome`]. Dropping it does not take the message back.
#[derive(Debug)]
#[must_use = "the outcome says whether the message is stored"]
pub struct Pending(State);

#[derive(Debug)]
enum State {
    Waiting { id: MessageId, outcome: oneshot::Receiver<Outcome> },
    Ready(Option<Outcome>),
}

/// Why a message was not taken; it comes back unchanged.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// The buffer has no room for it at present.
    #[error("the producer's buffer is full")]
    Full(Box<Message>),
    /// The producer is closed, or too much is under way in too many topics.
    #[error("{1}")]
    Refused(Box<Message>, Refused),
}

impl TrySendError {
    /// The message, which is not sent.
    #[must_use]
    pub fn into_message(self) -> Message {
        match self {
            Self::Full(message) | Self::Refused(message, _) => *message,
        }
    }
}

impl Client {
    /// A producer with its own buffer and its own idempotence identity. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If an option is out of its bounds.
    pub fn producer(&self, options: ProducerOptions) -> Result<Producer, Error> {
        Producer::new(self.clone(), options)
    }
}

impl Producer {
    pub(crate) fn new(client: Client, options: ProducerOptions) -> Result<Self, Error> {
        options.check()?;
        let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let session = Session::producer(client.clone());
        let inner = Inner {
            client,
            rooms: Rooms::new(options.buffer_bytes_max),
            ids: MessageIds::new(env::random_bytes(), std::process::id()),
            host: env::host_name(),
            lanes: RwLock::new(Lanes::default()),
            drivers: TaskTracker::new(),
            runtime,
            session,
            options,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Publishes a message and waits for its outcome; waits for room in the buffer first.
    pub async fn send(&self, message: Message) -> Outcome {
        self.enqueue(message).await.await
    }

    /// Hands a message over, waiting only for room in the buffer. Messages go in the order of these calls.
    pub async fn enqueue(&self, message: Message) -> Pending {
        let (sender, outcome) = oneshot::channel();
        let room = self.reserve(&message).await;
        match self.inner.accept(message, Waiter::Future(sender), room) {
            Ok(id) => Pending(State::Waiting { id, outcome }),
            Err(rejected) => Pending(State::Ready(Some(Outcome::Refused(rejected.why)))),
        }
    }

    /// Hands a message over; `callback` is called with its outcome by the task that also sends, so it must not block. One that
    /// panics is logged, and harms no other message.
    pub async fn send_with(&self, message: Message, callback: impl FnOnce(Outcome) + Send + 'static) {
        let room = self.reserve(&message).await;
        if let Err(rejected) = self.inner.accept(message, Waiter::Callback(Box::new(callback)), room) {
            let Rejected { waiter, why, .. } = *rejected;
            waiter.tell(Outcome::Refused(why));
        }
    }

    /// Hands a message over if there is room for it now.
    ///
    /// # Errors
    /// If the buffer is full or the producer closed; the message comes back.
    pub fn try_enqueue(&self, message: Message) -> Result<Pending, TrySendError> {
        let Some(room) = self.inner.rooms.try_reserve(cost_of(&message)) else {
            return Err(TrySendError::Full(Box::new(message)));
        };
        let (sender, outcome) = oneshot::channel();
        match self.inner.accept(message, Waiter::Future(sender), room) {
            Ok(id) => Ok(Pending(State::Waiting { id, outcome })),
            Err(rejected) => Err(TrySendError::Refused(Box::new(rejected.message), rejected.why)),
        }
    }

    /// Hands a message over and forgets about it: it is sent and retried like any other, but nobody is told.
    pub async fn send_one_way(&self, message: Message) {
        let room = self.reserve(&message).await;
        drop(self.inner.accept(message, Waiter::OneWay, room));
    }

    /// Publishes messages of one topic in one request: all are stored or none. Messages with message groups must
    /// share one. One outcome per message, in order.
    ///
    /// A list that cannot be one request is refused as a whole: an empty one has no outcomes; limits are
    /// [`batch_messages_max`](ProducerOptions::batch_messages_max) and
    /// [`batch_bytes_max`](ProducerOptions::batch_bytes_max).
    pub async fn send_batch(&self, messages: Vec<Message>) -> Vec<Outcome> {
        let count = messages.len();
        let refuse = |why: Refused| vec![Outcome::Refused(why); count];
        let cost = messages.iter().map(cost_of).sum();
        if let Err(why) = check_batch(&messages, cost, &self.inner.options) {
            return refuse(Refused::new(RefusedReason::Invalid, why));
        }
        let Some(first) = messages.first() else { return Vec::new() };
        let (topic, group) = (first.topic.clone(), first.group.clone());
        let mut room = Some(self.inner.rooms.reserve(cost).await);
        let mut batch = Batch::new(Instant::now(), Formed::ByApplication);
        let born = env::wall_clock();
        let mut pending = Vec::with_capacity(count);
        for message in messages {
            let (sender, outcome) = oneshot::channel();
            let id = self.inner.ids.next(born);
            // All of it is free when the first has its outcome: they have theirs at once.
            let entry = Entry { id, waiter: Waiter::Future(sender), room: room.take() };
            batch.push(entry, |id, request| encode::append(message, id, born, &self.inner.host, request));
            pending.push(Pending(State::Waiting { id, outcome }));
        }
        let put = |lane: &mut Lane, (_, _, batch)| lane.push_whole(batch);
        match self.inner.enter((topic, group, batch), |(topic, group, _)| (topic, group.as_deref()), put) {
            Ok(()) => futures::future::join_all(pending).await,
            Err((_, why)) => refuse(why),
        }
    }

    /// Waits until every message that was handed over by now has its outcome, and its callback has been called. Messages that are
    /// handed over meanwhile are not waited for, and do not wait.
    pub async fn flush(&self) {
        self.inner.rooms.all_given_back().await;
    }

    /// Takes no more messages, and waits until every one that was handed over has its outcome.
    pub async fn close(&self) {
        self.inner.shut();
        self.inner.drivers.close();
        self.inner.drivers.wait().await;
        self.inner.session.end().await;
    }

    async fn reserve(&self, message: &Message) -> Room {
        self.inner.rooms.reserve(cost_of(message)).await
    }
}

/// Shuts the lanes of a topic if nothing is under way in any; says whether.
fn let_go(lanes: &TopicLanes) -> bool {
    let started = || lanes.iter().filter_map(OnceLock::get);
    let idle = started().all(|lane| lane.change(|lane| lane.is_idle()));
    // What came in between is still sent: a lane that is shut ends when it is empty.
    if idle {
        started().for_each(|lane| lane.change(Lane::shut));
    }
    idle
}

/// A message that no lane took.
struct Rejected {
    message: Message,
    waiter: Waiter,
    why: Refused,
}

fn closed() -> Refused {
    Refused::new(RefusedReason::Closed, "the producer is closed")
}

impl Inner {
    /// Puts a message, whose room is reserved, into its lane.
    fn accept(&self, message: Message, waiter: Waiter, room: Room) -> Result<MessageId, Box<Rejected>> {
        let bytes = cost_of(&message) - OVERHEAD_BYTES;
        let born = env::wall_clock();
        let id = self.ids.next(born);
        let now = Instant::now();
        let put = |lane: &mut Lane, (message, waiter, room): (Message, Waiter, Room)| {
            let entry = Entry { id, waiter, room: Some(room) };
            let append = |id, request: &mut _| encode::append(message, id, born, &self.host, request);
            lane.batch_for(bytes, now).push(entry, append);
        };
        match self.enter((message, waiter, room), |(message, ..)| (&message.topic, message.group.as_deref()), put) {
            Ok(()) => Ok(id),
            Err(((message, waiter, _), why)) => Err(Box::new(Rejected { message, waiter, why })),
        }
    }

    /// Has something put into the lane of its topic and message group; it comes back if that cannot be.
    fn enter<T>(
        &self,
        mut thing: T,
        place: impl for<'a> Fn(&'a T) -> (&'a str, Option<&'a str>),
        put: impl Fn(&mut Lane, T),
    ) -> Result<(), (T, Refused)> {
        // A lane that was dropped meanwhile because nothing was under way in it has a successor.
        loop {
            let (topic, group) = place(&thing);
            let lane = match self.lane_of(topic, group) {
                Ok(lane) => lane,
                Err(why) => return Err((thing, why)),
            };
            let refused = lane.change(|lane| {
                if lane.is_shut() {
                    return Some(thing);
                }
                put(lane, thing);
                None
            });
            match refused {
                None => return Ok(()),
                Some(back) if self.is_closed() => return Err((back, closed())),
                Some(back) => thing = back,
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.lanes.read().expect("no holder of this lock panics").closed
    }

    fn lane_of(&self, topic_name: &str, group: Option<&str>) -> Result<Arc<SharedLane>, Refused> {
        let topic = self.lanes.read().expect("no holder of this lock panics").topics.get(topic_name).cloned();
        let topic = match topic {
            Some(topic) => topic,
            None => self.add_topic(topic_name)?,
        };
        let slot = group.map_or(0, |group| {
            let mut hasher = DefaultHasher::new();
            group.hash(&mut hasher);
            1 + usize::try_from(hasher.finish() % FIFO_LANES as u64).expect("fewer than FIFO_LANES")
        });
        let order = if slot == 0 { Order::Free } else { Order::Fifo };
        if let Some(lane) = topic[slot].get() {
            return Ok(Arc::clone(lane));
        }
        let lane = Arc::clone(topic[slot].get_or_init(|| self.start_lane(topic_name, order)));
        // Whoever closed the producer or dropped this topic meanwhile did not see this lane.
        let lanes = self.lanes.read().expect("no holder of this lock panics");
        let is_kept = lanes.topics.get(topic_name).is_some_and(|kept| Arc::ptr_eq(kept, &topic));
        if lanes.closed || !is_kept {
            lane.change(Lane::shut);
        }
        Ok(lane)
    }

    fn add_topic(&self, topic: &str) -> Result<Arc<TopicLanes>, Refused> {
        let mut lanes = self.lanes.write().expect("no holder of this lock panics");
        if lanes.closed {
            return Err(closed());
        }
        if lanes.topics.len() >= TOPICS_MAX && !lanes.topics.contains_key(topic) {
            lanes.topics.retain(|_, lanes| !let_go(lanes));
            if lanes.topics.len() >= TOPICS_MAX {
                let full = format!("messages to {TOPICS_MAX} topics are under way");
                return Err(Refused::new(RefusedReason::Full, full));
            }
        }
        Ok(Arc::clone(lanes.topics.entry(topic.into()).or_default()))
    }

    fn start_lane(&self, topic: &str, order: Order) -> Arc<SharedLane> {
        let limits = Limits {
            messages_max: self.options.batch_messages_max,
            bytes_max: self.options.batch_bytes_max,
            in_flight_max: self.options.requests_in_flight_max,
            send_timeout: self.options.send_timeout,
        };
        let producer = u128::from_be_bytes(env::random_bytes());
        let lane = Arc::new(SharedLane::new(topic, Lane::new(order, limits, producer)));
        self.drivers.spawn_on(drive(Arc::clone(&lane), self.client.clone()), &self.runtime);
        lane
    }

    fn shut(&self) {
        let mut lanes = self.lanes.write().expect("no holder of this lock panics");
        lanes.closed = true;
        for lane in lanes.topics.values().flat_map(|topic| topic.iter()).filter_map(OnceLock::get) {
            lane.change(Lane::shut);
        }
    }
}

impl Drop for Inner {
    /// The drivers send what they have and end.
    fn drop(&mut self) {
        self.shut();
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Pending {
    /// The id that the message travels under; `None` if it was refused at once.
    #[must_use]
    pub fn message_id(&self) -> Option<MessageId> {
        match &self.0 {
            State::Waiting { id, .. } => Some(*id),
            State::Ready(_) => None,
        }
    }
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        match &mut self.0 {
            State::Waiting { id, outcome } => {
                let id = *id;
                Pin::new(outcome).poll(context).map(|outcome| {
                    let why = "the runtime that sent the message was stopped".to_owned();
                    outcome.unwrap_or(Outcome::Unknown(Unknown { why, message_id: id }))
                })
            }
            State::Ready(outcome) => Poll::Ready(outcome.take().expect("a future is not polled after its end")),
        }
    }
}

/// What a message holds of the buffer: at least its encoded size.
fn cost_of(message: &Message) -> usize {
    let lengths = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
    // Each key and property costs a few bytes of tags and lengths beside its text.
    let keys: usize = message.keys.iter().map(|key| key.len() + 8).sum();
    let properties: usize = message.properties.iter().map(|(name, value)| name.len() + value.len() + 16).sum();
    let text = lengths(&message.tag) + lengths(&message.group) + keys + properties;
    message.body.len() + text + ENCODING_BYTES + OVERHEAD_BYTES
}

fn check_batch(messages: &[Message], cost: usize, options: &ProducerOptions) -> Result<(), String> {
    let Some(first) = messages.first() else { return Ok(()) };
    if messages.iter().any(|message| message.topic != first.topic) {
        return Err("a batch has one topic".to_owned());
    }
    if messages.iter().any(|message| message.group != first.group) {
        return Err("a batch has one message group".to_owned());
    }
    if messages.len() > options.batch_messages_max {
        return Err(format!("{} messages; a batch has at most {}", messages.len(), options.batch_messages_max));
    }
    if messages.len() > 1 && cost - messages.len() * OVERHEAD_BYTES > options.batch_bytes_max {
        return Err(format!("about {cost} bytes; a batch has at most {}", options.batch_bytes_max));
    }
    Ok(())
}
