//! What an application holds: [`SimpleConsumer`].

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tercet_proto::rocketmq::v2::{
    self as pb, messaging_service_client::MessagingServiceClient, receive_message_response::Content,
};
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming, transport::Channel};

use super::{
    acker::{self, Ack},
    received::ReceivedMessage,
};
use crate::{
    client::{Answer, Client, resource},
    env,
    error::Error,
    message::{check_group, check_topic},
    options::ConsumerOptions,
    telemetry::{Session, proto_duration},
};

/// An answer to a receive may come this long after the poll's end.
const POLL_GRACE: Duration = Duration::from_secs(3);
/// Largest answer to a receive: more than a broker puts into one.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Receives messages for a consumer group and acknowledges them. May be shared by many tasks, each receiving and
/// acknowledging on its own.
///
/// A message that is not acknowledged within its invisible duration is delivered again, to any consumer of the group,
/// with a higher [`attempt`](ReceivedMessage::attempt).
///
/// ```no_run
/// # use std::time::Duration;
/// # use tercet_client::{Client, ConsumerOptions};
/// # async fn example() -> Result<(), tercet_client::Error> {
/// let client = Client::connect("127.0.0.1:8081")?;
/// let consumer = client.simple_consumer("billing", ["orders"], ConsumerOptions::default())?;
/// loop {
///     for mut message in consumer.receive().await? {
///         if message.attempt() > 3 {
///             // Not now: deliver it again in a minute.
///             consumer.change_invisible_duration(&mut message, Duration::from_secs(60)).await?;
///         } else {
///             consumer.ack(&message).await?;
///         }
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct SimpleConsumer {
    client: Client,
    group: String,
    topics: Vec<String>,
    next_topic: AtomicUsize,
    options: ConsumerOptions,
    acks: mpsc::Sender<Ack>,
    session: Session,
}

/// A receive that a node has begun to answer.
struct Begun {
    status: pb::Status,
    first: Option<pb::Message>,
    rest: Streaming<pb::ReceiveMessageResponse>,
}

impl Answer for Begun {
    fn status(&self) -> Option<&pb::Status> {
        Some(&self.status)
    }
}

impl SimpleConsumer {
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
        let (acks, queue) = mpsc::channel(options.ack_batch_max * 4);
        tokio::spawn(acker::run(client.clone(), group.clone(), options.ack_batch_max, queue));
        let session = Session::simple_consumer(client.clone(), &group, &topics, options.long_poll);
        Ok(Self { client, group, topics, next_topic: AtomicUsize::new(0), options, acks, session })
    }

    /// Messages that are there, or else the first that come within
    /// [`long_poll`](ConsumerOptions::long_poll); none if none come. With several topics, calls take turns.
    ///
    /// # Errors
    /// If the topic or group does not exist, or no node answers in time, or a body was damaged on its way (the
    /// messages of that answer come again when their invisible duration has passed).
    pub async fn receive(&self) -> Result<Vec<ReceivedMessage>, Error> {
        self.receive_with(self.options.receive_messages_max, self.options.invisible_duration).await
    }

    /// Like [`receive`](Self::receive), with at most `messages_max` messages (1 to 32) that stay hidden for
    /// `invisible_duration` (10 s to 12 h).
    ///
    /// # Errors
    /// As [`receive`](Self::receive), and if an argument is out of its bounds.
    pub async fn receive_with(
        &self,
        messages_max: usize,
        invisible_duration: Duration,
    ) -> Result<Vec<ReceivedMessage>, Error> {
        let options =
            ConsumerOptions { receive_messages_max: messages_max, invisible_duration, ..self.options.clone() };
        options.check()?;
        let topic = &self.topics[self.next_topic.fetch_add(1, Ordering::Relaxed) % self.topics.len()];
        self.client.fresh_route(topic).await;
        let request = self.receive_request(topic, &options);
        let timeout = options.long_poll + POLL_GRACE;
        let attempt = async |channel| {
            let mut request = self.client.identity().request(request.clone());
            request.set_timeout(timeout);
            begin(channel, request).await
        };
        // What is on its way is awaited here, whoever leads meanwhile: nobody else gets it soon.
        let begun = self.client.call("receive", Some(topic), timeout, attempt).await?;
        collect(begun, timeout).await.into_iter().map(ReceivedMessage::parse).collect()
    }

    /// Tells the broker that the message is done with: this group does not get it again. Acknowledgements that are
    /// made at the same time travel together.
    ///
    /// # Errors
    /// With code `INVALID_RECEIPT_HANDLE` if the invisible duration has passed and the message was delivered again;
    /// or if no node answers in time, in which case it may or may not be acknowledged.
    pub async fn ack(&self, message: &ReceivedMessage) -> Result<(), Error> {
        self.enqueue_ack(message).await?.await.map_err(|_| Error::Closed)?
    }

    /// Acknowledges several messages; tries all of them, then returns the first error.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub async fn ack_all(&self, messages: &[ReceivedMessage]) -> Result<(), Error> {
        let mut waiting = Vec::with_capacity(messages.len());
        for message in messages {
            waiting.push(self.enqueue_ack(message).await?);
        }
        let results = futures::future::join_all(waiting).await;
        results.into_iter().try_for_each(|result| result.map_err(|_| Error::Closed)?)
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
        let request = pb::ChangeInvisibleDurationRequest {
            group: Some(resource(&self.group)),
            topic: Some(resource(message.topic())),
            receipt_handle: message.receipt_handle.clone(),
            invisible_duration: Some(proto_duration(invisible_duration)),
            message_id: message.message_id().to_owned(),
            ..Default::default()
        };
        let timeout = self.client.options().attempt_timeout;
        let attempt = async |channel| {
            let mut request = self.client.identity().request(request.clone());
            request.set_timeout(timeout);
            let answer = MessagingServiceClient::new(channel).change_invisible_duration(request).await?;
            Ok(answer.into_inner())
        };
        let topic = Some(message.topic());
        let answer = self.client.call("change invisible duration", topic, timeout, attempt).await?;
        if !answer.receipt_handle.is_empty() {
            message.receipt_handle = answer.receipt_handle;
        }
        Ok(())
    }

    /// Tells the broker that this consumer is gone.
    pub async fn close(self) {
        self.session.end().await;
    }

    async fn enqueue_ack(&self, message: &ReceivedMessage) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let (done, result) = oneshot::channel();
        let entry = pb::AckMessageEntry {
            message_id: message.message_id().to_owned(),
            receipt_handle: message.receipt_handle.clone(),
            lite_topic: None,
        };
        let ack = Ack { topic: message.topic().to_owned(), entry, done };
        self.acks.send(ack).await.map_err(|_| Error::Closed)?;
        Ok(result)
    }

    fn receive_request(&self, topic: &str, options: &ConsumerOptions) -> pb::ReceiveMessageRequest {
        let attempt_id: u128 = u128::from_be_bytes(env::random_bytes());
        pb::ReceiveMessageRequest {
            group: Some(resource(&self.group)),
            // Any queue of the topic.
            message_queue: Some(pb::MessageQueue { topic: Some(resource(topic)), id: -1, ..Default::default() }),
            filter_expression: Some(pb::FilterExpression {
                r#type: pb::FilterType::Tag as i32,
                expression: "*".to_owned(),
            }),
            batch_size: i32::try_from(options.receive_messages_max).expect("at most 32"),
            invisible_duration: Some(proto_duration(options.invisible_duration)),
            auto_renew: false,
            long_polling_timeout: Some(proto_duration(options.long_poll)),
            // A retry of a FIFO receive whose answer was lost gets the same messages again.
            attempt_id: Some(format!("{attempt_id:032x}")),
        }
    }
}

/// Asks, and waits for the first sign of an answer.
async fn begin(channel: Channel, request: tonic::Request<pb::ReceiveMessageRequest>) -> Result<Begun, Status> {
    let mut service = MessagingServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut rest = service.receive_message(request).await?.into_inner();
    while let Some(item) = rest.message().await? {
        match item.content {
            Some(Content::Status(status)) => return Ok(Begun { status, first: None, rest }),
            Some(Content::Message(message)) => {
                let status = pb::Status { code: pb::Code::Ok as i32, ..pb::Status::default() };
                return Ok(Begun { status, first: Some(message), rest });
            }
            Some(Content::DeliveryTimestamp(_)) | None => {}
        }
    }
    Err(Status::unavailable("the answer to a receive ended without a status"))
}

/// The messages of an answer; those that came, if it breaks or does not end within `timeout`.
async fn collect(begun: Begun, timeout: Duration) -> Vec<pb::Message> {
    let Begun { first, mut rest, .. } = begun;
    let mut messages: Vec<pb::Message> = first.into_iter().collect();
    let until = tokio::time::Instant::now() + timeout;
    while let Ok(Ok(Some(item))) = tokio::time::timeout_at(until, rest.message()).await {
        if let Some(Content::Message(message)) = item.content {
            messages.push(message);
        }
    }
    messages
}
