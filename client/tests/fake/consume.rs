//! A stream of deliveries in the hands of a test, which speaks for the node.

use std::time::Duration;

use prost::Message as _;
use tercet_proto::client::v1::{
    Batch, ConsumeAnswer, ConsumeRequest, Credit, Delivered, End, EndReason, Open, Opened, Settle, Settled,
    StoredProperties, consume_answer::Content, consume_request, consume_service_server::ConsumeService,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Hands each stream over.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) node: usize,
    pub(super) called: mpsc::UnboundedSender<Call>,
}

#[tonic::async_trait]
impl ConsumeService for Service {
    type ConsumeStream = UnboundedReceiverStream<Result<ConsumeAnswer, Status>>;

    async fn consume(
        &self,
        request: Request<Streaming<ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        let (answers, outgoing) = mpsc::unbounded_channel();
        drop(self.called.send(Call { node: self.node, requests: request.into_inner(), answers }));
        Ok(Response::new(UnboundedReceiverStream::new(outgoing)))
    }
}

/// One stream, at the node's end. Dropping it breaks the stream.
pub(crate) struct Call {
    pub(crate) node: usize,
    requests: Streaming<ConsumeRequest>,
    answers: mpsc::UnboundedSender<Result<ConsumeAnswer, Status>>,
}

impl Call {
    /// The next request; nothing if the client said goodbye. Fails after ten seconds.
    pub(crate) async fn request(&mut self) -> Option<consume_request::Content> {
        let request = timeout(Duration::from_secs(10), self.requests.message()).await.expect("a request in time");
        request.unwrap().map(|request| request.content.unwrap())
    }

    /// Reads the first request and says that the stream is open.
    pub(crate) async fn open(&mut self) -> Open {
        self.open_as(false).await
    }

    /// The same, of a group that keeps the order or does not.
    pub(crate) async fn open_as(&mut self, fifo: bool) -> Open {
        let Some(consume_request::Content::Open(open)) = self.request().await else {
            panic!("a stream begins with it")
        };
        self.say(Content::Opened(Opened { fifo, invisible_ms: open.invisible_ms, broker_group: 6 }));
        open
    }

    pub(crate) fn say(&self, content: Content) {
        drop(self.answers.send(Ok(ConsumeAnswer { content: Some(content) })));
    }

    /// A batch of queue 0 with these offsets; its nonce is 1000 and its number.
    pub(crate) fn push(&self, number: u64, offsets: std::ops::Range<u64>) {
        let message = |offset| Delivered {
            offset,
            attempt: 1,
            properties: StoredProperties { message_id: format!("id-{offset}"), ..Default::default() }
                .encode_to_vec()
                .into(),
            body: "body".into(),
            ..Default::default()
        };
        let bytes = (offsets.end - offsets.start) * 100;
        let messages = offsets.map(message).collect();
        self.say(Content::Batch(Batch { number, nonce: 1000 + number, deadline_unix_ms: 5000, bytes, messages }));
    }

    pub(crate) fn end(&self, reason: EndReason, leader: &str) {
        self.say(Content::End(End { reason: reason as i32, text: "scripted".into(), leader: leader.into() }));
    }

    /// Requests until the next Settle; the credit that came before, added up.
    pub(crate) async fn settle(&mut self) -> (Settle, Credit) {
        let mut credit = Credit::default();
        loop {
            match self.request().await.expect("the client is there") {
                consume_request::Content::Settle(settle) => return (settle, credit),
                consume_request::Content::Credit(more) => {
                    credit.messages += more.messages;
                    credit.bytes += more.bytes;
                    credit.arrived = more.arrived;
                }
                consume_request::Content::Open(_) => panic!("a stream is opened once"),
            }
        }
    }

    /// The same; nothing if the client says goodbye before.
    pub(crate) async fn settle_or_goodbye(&mut self) -> Option<Settle> {
        loop {
            match self.request().await? {
                consume_request::Content::Settle(settle) => return Some(settle),
                consume_request::Content::Credit(_) => {}
                consume_request::Content::Open(_) => panic!("a stream is opened once"),
            }
        }
    }

    /// Returns once the application has taken a batch, whose credit comes back.
    pub(crate) async fn credit_taken(&mut self) {
        while !matches!(self.request().await, Some(consume_request::Content::Credit(credit)) if credit.messages > 0) {}
    }

    /// Answers a request as done, but for these positions.
    pub(crate) fn settled(&self, settle: &Settle, over: &[u32]) {
        let settled = Settled { number: settle.number, over: over.to_vec(), deadlines_unix_ms: Vec::new() };
        self.say(Content::Settled(settled));
    }
}
