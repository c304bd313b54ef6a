//! Opening a stream of deliveries: `tercet.client.v1.ConsumeService`.

use tercet_proto::client::v1::{
    ConsumeAnswer, ConsumeRequest, End, Open, consume_answer, consume_request,
    consume_service_client::ConsumeServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use super::metadata::Identity;
use crate::broker_group::BrokerGroup;

/// Largest answer: the largest message, with room to spare.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Requests between the consumer and the connection.
const QUEUED_MAX: usize = 64;

/// An open stream. Dropping it ends the stream; ending only `requests` says goodbye.
#[derive(Debug)]
pub(crate) struct ConsumeStream {
    pub(crate) requests: mpsc::Sender<ConsumeRequest>,
    pub(crate) answers: Streaming<ConsumeAnswer>,
    /// Whose queues those of the batches are.
    pub(crate) group: BrokerGroup,
    /// The consumer group keeps the order.
    pub(crate) fifo: bool,
}

/// What a node said to an Open.
#[derive(Debug)]
pub(crate) enum Begun {
    /// Batches follow.
    Opened(ConsumeStream),
    /// Nothing follows.
    Ended(End),
}

/// Opens a stream for whoever `identity` says, and waits for the first answer.
pub(crate) async fn open(channel: Channel, identity: &Identity, open: Open) -> Result<Begun, Status> {
    let (requests, outgoing) = mpsc::channel(QUEUED_MAX);
    let first = ConsumeRequest { content: Some(consume_request::Content::Open(open)) };
    requests.try_send(first).expect("the channel is new and has room");
    let request = identity.request(ReceiverStream::new(outgoing));
    let mut service = ConsumeServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut answers = service.consume(request).await?.into_inner();
    match answers.message().await?.and_then(|answer| answer.content) {
        Some(consume_answer::Content::Opened(opened)) => {
            let group = BrokerGroup(opened.broker_group);
            Ok(Begun::Opened(ConsumeStream { requests, answers, group, fifo: opened.fifo }))
        }
        Some(consume_answer::Content::End(end)) => Ok(Begun::Ended(end)),
        Some(_) => Err(Status::internal("the node pushed into a stream that it had not opened")),
        None => Err(Status::unavailable("the node ended the stream without a word")),
    }
}
