//! Publishing over a stream that is kept open: `tercet.client.v1.PublishService`.
//!
//! ```text
//!   send() ─► numbered, into the stream ══════════════► broker
//!     ▲        waiting: number ─► who sent it               │
//!     └──────────── reader task ◄═══════ answers, as they come
//! ```
//! When the stream ends, everybody who waits is told so: his request may be stored. The next send opens a new one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::{BufMut as _, Bytes};
use http::uri::PathAndQuery;
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};
use tercet_proto::{
    client::v1::{ProducerStamp, PublishAnswer, PublishRequest},
    headers,
    rocketmq::v2::SendMessageResponse,
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{MetadataMap, MetadataValue},
    transport::Channel,
};

use super::{
    metadata::{Identity, SendHeaders},
    raw::{ANSWER_BYTES_MAX, SendAnswer},
};

const PATH: &str = "/tercet.client.v1.PublishService/Publish";
/// Field `send` of a `PublishRequest`.
const SEND_FIELD: u32 = 4;
/// Requests between the senders and the connection.
const QUEUED_MAX: usize = 256;

type Answered = Result<SendAnswer, Status>;

/// An open stream. Dropping it ends the stream.
#[derive(Debug)]
pub(super) struct PublishStream {
    requests: mpsc::Sender<Outgoing>,
    waiting: Arc<Waiting>,
}

/// A request: its own fields encoded, and the messages that are encoded already.
#[derive(Debug)]
struct Outgoing {
    head: Vec<u8>,
    send: Bytes,
}

/// Who waits for an answer.
#[derive(Debug, Default)]
struct Waiting(Mutex<Line>);

#[derive(Debug, Default)]
struct Line {
    next: u64,
    senders: HashMap<u64, oneshot::Sender<Answered>>,
    /// Why the stream has ended.
    ended: Option<Status>,
}

/// A place among those who wait; dropping it leaves.
struct Place<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl PublishStream {
    /// Opens a stream for whoever `identity` says. An error says that nothing was sent in it.
    pub(super) async fn open(channel: Channel, identity: &Identity) -> Result<PublishStream, Status> {
        let (requests, queued) = mpsc::channel(QUEUED_MAX);
        let mut grpc = Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let request = identity.request(ReceiverStream::new(queued));
        let answers = grpc.streaming(request, PathAndQuery::from_static(PATH), StreamCodec).await?.into_inner();
        let waiting = Arc::<Waiting>::default();
        tokio::spawn(read(answers, Arc::clone(&waiting)));
        Ok(PublishStream { requests, waiting })
    }

    /// Whether it can still be sent in.
    pub(super) fn is_open(&self) -> bool {
        self.waiting.lock().ended.is_none()
    }

    /// Sends an encoded `SendMessageRequest` and waits for its answer.
    pub(super) async fn send(&self, send: Bytes, headers: SendHeaders, timeout: Duration) -> Answered {
        let (place, answer) = self.waiting.join()?;
        let producer = ProducerStamp {
            id: Bytes::copy_from_slice(&headers.producer.to_be_bytes()),
            epoch: headers.epoch,
            sequence: headers.sequence,
            lowest: Some(headers.lowest),
            again: headers.again,
        };
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let head = PublishRequest { number: place.number, timeout_ms, producer: Some(producer), send: Bytes::new() };
        let outgoing = Outgoing { head: head.encode_to_vec(), send };
        if self.requests.send(outgoing).await.is_err() {
            return Err(not_sent("the stream to the node has ended"));
        }
        answer.await.unwrap_or_else(|_| Err(Status::unavailable("the stream to the node has ended")))
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().expect("no holder of this lock panics")
    }

    fn join(&self) -> Result<(Place<'_>, oneshot::Receiver<Answered>), Status> {
        let mut line = self.lock();
        if let Some(ended) = &line.ended {
            return Err(not_sent(ended.message()));
        }
        let (sender, answer) = oneshot::channel();
        let number = line.next;
        line.next += 1;
        line.senders.insert(number, sender);
        Ok((Place { waiting: self, number }, answer))
    }

    /// Hands an answer to who waits for it, if he still does.
    fn answer(&self, answer: PublishAnswer) {
        let sender = self.lock().senders.remove(&answer.number);
        if let Some(sender) = sender {
            drop(sender.send(answered(answer)));
        }
    }

    fn end(&self, status: Status) {
        let mut line = self.lock();
        let senders = std::mem::take(&mut line.senders);
        line.ended = Some(status.clone());
        drop(line);
        for sender in senders.into_values() {
            drop(sender.send(Err(status.clone())));
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.lock().senders.remove(&self.number);
    }
}

async fn read(mut answers: Streaming<PublishAnswer>, waiting: Arc<Waiting>) {
    let status = loop {
        match answers.message().await {
            Ok(Some(answer)) => waiting.answer(answer),
            Ok(None) => break Status::unavailable("the node ended the stream"),
            Err(status) => break status,
        }
    };
    waiting.end(status);
}

fn not_sent(why: &str) -> Status {
    refused(Status::unavailable(why))
}

/// A failure before anything left this process, marked in the way in which nodes do it.
pub(super) fn refused(mut status: Status) -> Status {
    status.metadata_mut().insert(headers::OUTCOME, MetadataValue::from_static("refused"));
    status
}

/// The answer as one to a SendMessage.
fn answered(answer: PublishAnswer) -> Answered {
    let mut metadata = MetadataMap::new();
    for (key, value) in [(headers::QUEUES, &answer.queues), (headers::OUTCOME, &answer.outcome)] {
        if !value.is_empty() {
            let value = value.parse().map_err(|_| Status::internal(format!("the answer's {key} is {value:?}")))?;
            metadata.insert(key, value);
        }
    }
    if answer.grpc_code != 0 {
        return Err(Status::with_metadata(answer.grpc_code.into(), answer.grpc_message, metadata));
    }
    let body = SendMessageResponse::decode(answer.send)
        .map_err(|error| Status::internal(format!("the answer to a publish cannot be read: {error}")))?;
    Ok(SendAnswer { metadata, body })
}

/// Requests out as they are, decoded answers in.
#[derive(Debug, Clone, Copy)]
struct StreamCodec;

impl Codec for StreamCodec {
    type Encode = Outgoing;
    type Decode = PublishAnswer;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for StreamCodec {
    type Item = Outgoing;
    type Error = Status;

    fn encode(&mut self, Outgoing { head, send }: Outgoing, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.reserve(head.len() + send.len() + 16);
        dst.put_slice(&head);
        encode_key(SEND_FIELD, WireType::LengthDelimited, dst);
        encode_varint(send.len() as u64, dst);
        dst.put(send);
        Ok(())
    }
}

impl Decoder for StreamCodec {
    type Item = PublishAnswer;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<PublishAnswer>, Status> {
        PublishAnswer::decode(src)
            .map(Some)
            .map_err(|error| Status::internal(format!("an answer in the stream cannot be read: {error}")))
    }
}
