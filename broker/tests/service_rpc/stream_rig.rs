//! A consume stream in the hands of a test, which is its client.

use std::time::Duration;

use prost::Message as _;
use tercet_proto::{
    admin::v1::TopicType,
    client::v1::{
        Batch, ConsumeAnswer, ConsumeRequest, Credit, Delivered, End, Open, Run, Settle, Settled, StoredProperties,
        consume_answer::Content, consume_request, consume_service_client::ConsumeServiceClient,
    },
    rocketmq::v2::Message,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::rig::{Caller, fresh, message, shared};

pub(crate) const MIB: u64 = 1 << 20;
/// Nothing comes for this long: nothing will.
const QUIET: Duration = Duration::from_millis(400);

/// A stream as its client holds it.
pub(crate) struct Stream {
    pub(crate) requests: mpsc::Sender<ConsumeRequest>,
    pub(crate) answers: Streaming<ConsumeAnswer>,
}

pub(crate) fn request(content: consume_request::Content) -> ConsumeRequest {
    ConsumeRequest { content: Some(content) }
}

pub(crate) fn credit(messages: u64, bytes: u64, arrived: u64) -> Credit {
    Credit { messages, bytes, arrived }
}

pub(crate) fn open(topic: &str, group: &str, messages: u64) -> Open {
    Open {
        topic: topic.to_owned(),
        group: group.to_owned(),
        invisible_ms: 30_000,
        credit: Some(credit(messages, 16 * MIB, 0)),
        ..Open::default()
    }
}

impl Stream {
    pub(crate) async fn open(caller: &Caller, open: Open) -> Stream {
        let (requests, outgoing) = mpsc::channel(64);
        requests.send(request(consume_request::Content::Open(open))).await.expect("room");
        let mut client = ConsumeServiceClient::new(caller.channel.clone()).max_decoding_message_size(16 << 20);
        let answers = client.consume(caller.request(ReceiverStream::new(outgoing))).await.expect("a stream");
        Stream { requests, answers: answers.into_inner() }
    }

    /// The same, and the first answer read.
    pub(crate) async fn opened(caller: &Caller, open: Open) -> Stream {
        let mut stream = Stream::open(caller, open).await;
        match stream.next().await {
            Content::Opened(_) => stream,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn next(&mut self) -> Content {
        let answer = timeout(Duration::from_secs(20), self.answers.message()).await.expect("an answer in time");
        answer.expect("no gRPC error").expect("an answer before the end").content.expect("content")
    }

    pub(crate) async fn batch(&mut self) -> Batch {
        match self.next().await {
            Content::Batch(batch) => batch,
            other => panic!("{other:?}"),
        }
    }

    /// Batches with so many messages in all.
    pub(crate) async fn batches(&mut self, messages: usize) -> Vec<Batch> {
        let mut batches = Vec::new();
        while count(&batches) < messages {
            batches.push(self.batch().await);
        }
        assert_eq!(count(&batches), messages);
        batches
    }

    pub(crate) async fn is_quiet(&mut self) -> bool {
        timeout(QUIET, self.answers.message()).await.is_err()
    }

    pub(crate) async fn grant(&self, credit: Credit) {
        self.requests.send(request(consume_request::Content::Credit(credit))).await.expect("room");
    }

    /// Sends it up and waits for its answer; batches before it are dropped.
    pub(crate) async fn settle(&mut self, settle: Settle) -> Settled {
        let number = settle.number;
        self.requests.send(request(consume_request::Content::Settle(settle))).await.expect("room");
        loop {
            match self.next().await {
                Content::Settled(settled) => {
                    assert_eq!(settled.number, number);
                    return settled;
                }
                Content::Batch(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads to the end, which is the last thing that comes.
    pub(crate) async fn end(&mut self) -> End {
        let end = loop {
            match self.next().await {
                Content::End(end) => break end,
                Content::Batch(_) | Content::Settled(_) | Content::Opened(_) => {}
            }
        };
        assert!(self.answers.message().await.expect("no gRPC error").is_none(), "nothing comes behind the end");
        end
    }

    /// Says goodbye.
    pub(crate) async fn close(self) -> End {
        let Stream { requests, answers } = self;
        drop(requests);
        let (nothing, _) = mpsc::channel(1);
        Stream { requests: nothing, answers }.end().await
    }
}

pub(crate) fn count(batches: &[Batch]) -> usize {
    batches.iter().map(|batch| batch.messages.len()).sum()
}

pub(crate) fn properties(message: &Delivered) -> StoredProperties {
    StoredProperties::decode(message.properties.clone()).expect("properties")
}

pub(crate) fn ids(batches: &[Batch]) -> Vec<String> {
    batches.iter().flat_map(|batch| &batch.messages).map(|message| properties(message).message_id).collect()
}

pub(crate) fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// A reference to each message.
pub(crate) fn runs(batches: &[Batch]) -> Vec<Run> {
    let of = |batch: &Batch, message: &Delivered| Run {
        nonce: batch.nonce,
        deadline_unix_ms: batch.deadline_unix_ms,
        queue: message.queue,
        offset: message.offset,
        count: 1,
    };
    batches.iter().flat_map(|batch| batch.messages.iter().map(move |message| of(batch, message))).collect()
}

pub(crate) fn done(number: u64, batches: &[Batch]) -> Settle {
    Settle { number, done: runs(batches), changes: Vec::new() }
}

pub(crate) fn numbered(topic: &str, count: usize) -> Vec<Message> {
    (0..count).map(|n| message(topic, &format!("m{n:04}"), vec![b'x'; 100])).collect()
}

/// A topic with so many messages, and a group.
pub(crate) async fn topic_with(queues: u32, messages: usize) -> (Caller, String, String) {
    let caller = shared().leader().await.caller();
    let (topic, group) = (fresh("t"), fresh("g"));
    caller.topic(&topic, queues, TopicType::Normal).await;
    if messages > 0 {
        caller.send(numbered(&topic, messages)).await;
    }
    (caller, topic, group)
}
