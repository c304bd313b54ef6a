//! Calls as official clients make them: one SendMessage for each message; a receive of 32, and one acknowledgement for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tercet_proto::rocketmq::v2::{
    self as pb, AckMessageEntry, AckMessageRequest, Code, Message, ReceiveMessageRequest, SendMessageRequest,
    SystemProperties, messaging_service_client::MessagingServiceClient, receive_message_response::Content,
};
use tokio::task::JoinSet;
use tonic::{Request, transport::Channel};

use super::waiters;
use crate::{
    cluster::{Cluster, process},
    failure::{Doing, Failure},
};

/// Callers that share a connection, as those of one official client do.
const PER_CONNECTION: usize = 64;

/// What was called, and what the leader spent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spent {
    /// Messages that were stored, or received and acknowledged.
    pub messages: u64,
    /// How long it took.
    pub took: Duration,
    /// Processor time of the leader.
    pub cpu: Duration,
}

impl Spent {
    /// Processor time of the leader for each message, in microseconds.
    #[must_use]
    pub fn micros_each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.messages.max(1) as f64
    }

    /// Messages a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.took.as_secs_f64()
    }
}

/// `callers` publish bodies of `size` bytes to the leader for `span`, each one at a time.
///
/// # Errors
/// If a call is refused.
pub async fn send(
    cluster: &Cluster,
    topic: &str,
    size: usize,
    callers: usize,
    span: Duration,
) -> Result<Spent, Failure> {
    let template = Message {
        topic: Some(waiters::named(topic)),
        body: bytes::Bytes::from(vec![b'x'; size]),
        ..Message::default()
    };
    calls(cluster, callers, span, move |mut client, id, number| {
        let system = SystemProperties { message_id: format!("{id}-{number}"), ..SystemProperties::default() };
        let message = Message { system_properties: Some(system), ..template.clone() };
        let request = waiters::headed(SendMessageRequest { messages: vec![message] }, &id);
        async move {
            let answer = client.send_message(request).await.doing(|| "a send".to_owned())?.into_inner();
            done_or(answer.status, "a send")?;
            Ok(1)
        }
    })
    .await
}

/// `callers` receive 32 messages of the leader at a time and acknowledge them, for `span`.
///
/// # Errors
/// If a call is refused.
pub async fn consume(
    cluster: &Cluster,
    topic: &str,
    group: &str,
    callers: usize,
    span: Duration,
) -> Result<Spent, Failure> {
    let wanted = waiters::request(topic, group);
    let acknowledged = AckMessageRequest {
        group: Some(waiters::named(group)),
        topic: Some(waiters::named(topic)),
        entries: Vec::new(),
    };
    calls(cluster, callers, span, move |client, id, _| {
        let request = waiters::headed(wanted.clone(), &id);
        let acknowledged = acknowledged.clone();
        async move { receive_and_acknowledge(client, request, acknowledged, &id).await }
    })
    .await
}

async fn receive_and_acknowledge(
    mut client: MessagingServiceClient<Channel>,
    request: Request<ReceiveMessageRequest>,
    mut acknowledged: AckMessageRequest,
    id: &str,
) -> Result<u64, Failure> {
    let mut answer = client.receive_message(request).await.doing(|| "a receive".to_owned())?.into_inner();
    while let Some(item) = answer.message().await.doing(|| "a receive".to_owned())? {
        let Some(Content::Message(message)) = item.content else { continue };
        let system = message.system_properties.unwrap_or_default();
        acknowledged.entries.push(AckMessageEntry {
            message_id: system.message_id,
            receipt_handle: system.receipt_handle.unwrap_or_default(),
            ..AckMessageEntry::default()
        });
    }
    let count = acknowledged.entries.len() as u64;
    if count > 0 {
        let answer = client.ack_message(waiters::headed(acknowledged, id)).await;
        done_or(answer.doing(|| "an acknowledgement".to_owned())?.into_inner().status, "an acknowledgement")?;
    }
    Ok(count)
}

fn done_or(status: Option<pb::Status>, what: &str) -> Result<(), Failure> {
    match status {
        Some(status) if status.code == Code::Ok as i32 => Ok(()),
        other => Err(Failure(format!("{what} was answered by {other:?}"))),
    }
}

/// Runs `call` again and again in each caller; it answers how many messages it was about.
async fn calls<F, Fut>(cluster: &Cluster, callers: usize, span: Duration, call: F) -> Result<Spent, Failure>
where
    F: Fn(MessagingServiceClient<Channel>, String, u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<u64, Failure>> + Send,
{
    let leader = cluster.node(cluster.leader().await?);
    let mut channels = Vec::new();
    for _ in 0..callers.div_ceil(PER_CONNECTION) {
        channels.push(waiters::connect(leader.client()).await?);
    }
    let messages = Arc::new(AtomicU64::new(0));
    let (begun, before) = (Instant::now(), process::usage(leader.pid())?);
    let mut running = JoinSet::new();
    for caller in 0..callers {
        let channel = channels[caller / PER_CONNECTION].clone();
        let (call, messages) = (call.clone(), Arc::clone(&messages));
        running.spawn(async move {
            let client = MessagingServiceClient::new(channel);
            let mut number = 0;
            while begun.elapsed() < span {
                let count = call(client.clone(), format!("caller-{caller}"), number).await?;
                messages.fetch_add(count, Ordering::Relaxed);
                number += 1;
            }
            Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.doing(|| "a caller".to_owned())??;
    }
    let (took, after) = (begun.elapsed(), process::usage(leader.pid())?);
    Ok(Spent { messages: messages.load(Ordering::Relaxed), took, cpu: after.cpu.saturating_sub(before.cpu) })
}
