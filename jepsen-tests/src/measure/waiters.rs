//! Receivers that wait for messages as official clients do: one long poll each, beside many others of a connection.

use std::time::{Duration, Instant};

use prost_types::Duration as Span;
use tercet_proto::rocketmq::v2::{
    self as pb, FilterExpression, FilterType, MessageQueue, ReceiveMessageRequest, Resource,
    messaging_service_client::MessagingServiceClient, receive_message_response::Content,
};
use tokio::{sync::mpsc, task::JoinSet};
use tonic::{
    Request,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use crate::failure::{Doing, Failure};

/// Polls of one connection.
const PER_CONNECTION: usize = 200;
const BATCH: i32 = 32;
const POLL: Duration = Duration::from_secs(30);
const INVISIBLE_SECONDS: i64 = 60;
const RETRY: Duration = Duration::from_millis(200);

/// The receivers; dropping them ends them.
#[derive(Debug)]
pub struct Waiters {
    _polls: JoinSet<()>,
    messages: mpsc::Receiver<usize>,
}

/// Starts `count` receivers at this node, each of which polls again and again.
///
/// # Errors
/// If a connection cannot be made.
pub async fn start(address: &str, topic: &str, group: &str, count: usize) -> Result<Waiters, Failure> {
    let (received, messages) = mpsc::channel(1024);
    let mut polls = JoinSet::new();
    for connection in 0..count.div_ceil(PER_CONNECTION) {
        let channel = connect(address).await?;
        for _ in 0..PER_CONNECTION.min(count - connection * PER_CONNECTION) {
            let (client, received) = (MessagingServiceClient::new(channel.clone()), received.clone());
            polls.spawn(poll(client, request(topic, group), format!("waiter-{connection}"), received));
        }
    }
    Ok(Waiters { _polls: polls, messages })
}

/// A connection to this node.
pub(super) async fn connect(address: &str) -> Result<Channel, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).doing(|| format!("address {address}"))?;
    endpoint.connect().await.doing(|| format!("connect to {address}"))
}

impl Waiters {
    /// Waits until all of them together have received so many messages; answers when that was.
    ///
    /// # Errors
    /// If that takes longer than `limit`.
    pub async fn received(&mut self, count: usize, limit: Duration) -> Result<Instant, Failure> {
        let until = tokio::time::Instant::now() + limit;
        let mut left = count;
        while left > 0 {
            let some = tokio::time::timeout_at(until, self.messages.recv());
            let some = some.await.doing(|| format!("the last {left} of {count} messages"))?;
            left = left.saturating_sub(some.ok_or_else(|| Failure("all receivers have ended".to_owned()))?);
        }
        Ok(Instant::now())
    }
}

async fn poll(
    mut client: MessagingServiceClient<Channel>,
    wanted: ReceiveMessageRequest,
    id: String,
    received: mpsc::Sender<usize>,
) {
    loop {
        let Ok(answer) = client.receive_message(headed(wanted.clone(), &id)).await else {
            // Refused, or cut off: a client waits before it asks again.
            tokio::time::sleep(RETRY).await;
            continue;
        };
        let (mut answer, mut messages) = (answer.into_inner(), 0);
        while let Ok(Some(item)) = answer.message().await {
            messages += usize::from(matches!(item.content, Some(Content::Message(_))));
        }
        if messages > 0 && received.send(messages).await.is_err() {
            return;
        }
    }
}

/// A request with the headers of a client that calls itself `id`.
pub(super) fn headed<Q>(message: Q, id: &str) -> Request<Q> {
    let mut request = Request::new(message);
    let headers = request.metadata_mut();
    headers.insert("x-mq-client-id", MetadataValue::try_from(id).expect("letters and digits"));
    headers.insert("x-mq-language", MetadataValue::from_static("RUST"));
    headers.insert("x-mq-protocol", MetadataValue::from_static("v2"));
    request
}

/// A topic or group.
pub(super) fn named(name: &str) -> Resource {
    Resource { resource_namespace: String::new(), name: name.to_owned() }
}

/// A receive that waits.
pub(super) fn request(topic: &str, group: &str) -> ReceiveMessageRequest {
    ReceiveMessageRequest {
        group: Some(named(group)),
        message_queue: Some(MessageQueue {
            topic: Some(named(topic)),
            broker: Some(pb::Broker { name: "broker-1".to_owned(), ..Default::default() }),
            ..Default::default()
        }),
        filter_expression: Some(FilterExpression { r#type: FilterType::Tag as i32, expression: "*".to_owned() }),
        batch_size: BATCH,
        invisible_duration: Some(Span { seconds: INVISIBLE_SECONDS, nanos: 0 }),
        long_polling_timeout: Some(Span { seconds: i64::try_from(POLL.as_secs()).expect("half a minute"), nanos: 0 }),
        ..Default::default()
    }
}
