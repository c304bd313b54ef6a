//! `tercet.client.v1.PublishService`: SendMessage for many requests over one stream.
//!
//! ```text
//!   requests ─► each as a SendMessage with the stream's headers, up to REQUESTS_MAX at once ─► answers as they come
//! ```
//! A call of its own for each publish costs more than storing it: its headers, its task, its trailers. What a request
//! means, how it is checked, forwarded and answered is exactly [`send`]'s.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _};
use prost::Message as _;
use tercet_proto::{
    client::v1::{ProducerStamp, PublishAnswer, PublishRequest, publish_service_server::PublishService},
    rocketmq::v2::{SendMessageRequest, SendMessageResponse},
};
use tonic::{
    Request, Response, Status, Streaming, async_trait,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

use super::{
    caller::{Caller, EPOCH_HEADER, OUTCOME_HEADER, PRODUCER_HEADER, QUEUES_HEADER, SEQUENCE_HEADER},
    node::Node,
    send,
};

/// Requests of one stream that are worked on at once; the others wait in the connection's window.
const REQUESTS_MAX: usize = 1024;

/// Publishing over kept streams.
#[derive(Clone)]
pub struct Publishing {
    node: Arc<Node>,
}

impl Publishing {
    /// Serves this node.
    pub fn new(node: Arc<Node>) -> Publishing {
        Publishing { node }
    }
}

#[async_trait]
impl PublishService for Publishing {
    type PublishStream = Pin<Box<dyn Stream<Item = Result<PublishAnswer, Status>> + Send>>;

    async fn publish(
        &self,
        request: Request<Streaming<PublishRequest>>,
    ) -> Result<Response<Self::PublishStream>, Status> {
        let (headers, _, requests) = request.into_parts();
        Caller::of(&headers).map_err(|refusal| Status::invalid_argument(refusal.message))?;
        let (node, headers) = (Arc::clone(&self.node), Arc::new(headers));
        // A node that stops takes no more requests, and answers those that it took.
        let taken = requests.take_until(node.stop.clone().cancelled_owned());
        let answers = taken.map(move |request| answer(Arc::clone(&node), Arc::clone(&headers), request));
        Ok(Response::new(Box::pin(answers.buffer_unordered(REQUESTS_MAX))))
    }
}

/// Answers one request. An error ends the stream: only the stream itself can be at fault then.
async fn answer(
    node: Arc<Node>,
    headers: Arc<MetadataMap>,
    request: Result<PublishRequest, Status>,
) -> Result<PublishAnswer, Status> {
    let PublishRequest { number, timeout_ms, producer, send } = request?;
    let message = match SendMessageRequest::decode(send) {
        Ok(message) => message,
        Err(error) => {
            let why = format!("field send is no SendMessageRequest: {error}");
            return Ok(failed(number, &Status::invalid_argument(why)));
        }
    };
    let headers = headers_of(&headers, timeout_ms, producer);
    let request = Request::from_parts(headers, tonic::Extensions::new(), message);
    Ok(match send::send_message(&node, request).await {
        Ok(response) => answered(number, &response),
        Err(status) => failed(number, &status),
    })
}

/// What the headers of a SendMessage would say.
fn headers_of(stream: &MetadataMap, timeout_ms: u64, producer: Option<ProducerStamp>) -> MetadataMap {
    let mut headers = stream.clone();
    for header in ["grpc-timeout", PRODUCER_HEADER, EPOCH_HEADER, SEQUENCE_HEADER] {
        headers.remove(header);
    }
    let text = |text: String| text.parse::<MetadataValue<Ascii>>().expect("digits and letters are legal");
    if timeout_ms > 0 {
        // At most 8 digits are legal; more than a day is as good as none.
        headers.insert("grpc-timeout", text(format!("{}m", timeout_ms.min(99_999_999))));
    }
    if let Some(ProducerStamp { id, epoch, sequence }) = producer {
        // An id of another length makes no sense as a header either, and is refused as such.
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        headers.insert(PRODUCER_HEADER, text(id));
        headers.insert(EPOCH_HEADER, epoch.into());
        headers.insert(SEQUENCE_HEADER, sequence.into());
    }
    headers
}

fn answered(number: u64, response: &Response<SendMessageResponse>) -> PublishAnswer {
    PublishAnswer {
        number,
        send: response.get_ref().encode_to_vec().into(),
        queues: header(response.metadata(), QUEUES_HEADER),
        outcome: header(response.metadata(), OUTCOME_HEADER),
        ..PublishAnswer::default()
    }
}

fn failed(number: u64, status: &Status) -> PublishAnswer {
    PublishAnswer {
        number,
        outcome: header(status.metadata(), OUTCOME_HEADER),
        grpc_code: status.code().into(),
        grpc_message: status.message().to_owned(),
        ..PublishAnswer::default()
    }
}

fn header(headers: &MetadataMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_streams_headers_and_its_own_stamp() {
        let mut stream = MetadataMap::new();
        stream.insert("x-mq-client-id", "c".parse().expect("legal"));
        stream.insert("grpc-timeout", "1S".parse().expect("legal"));
        stream.insert(PRODUCER_HEADER, "left over".parse().expect("legal"));
        let producer = ProducerStamp { id: vec![0xab; 16].into(), epoch: 3, sequence: 7 };
        let headers = headers_of(&stream, 2500, Some(producer));
        let caller = Caller::of(&headers).expect("a caller");
        assert_eq!((caller.client_id.as_str(), caller.timeout), ("c", Some(std::time::Duration::from_millis(2500))));
        let stamp = super::super::caller::ProducerStamp::of(&headers).expect("whole").expect("there");
        assert_eq!((stamp.id, stamp.epoch, stamp.base_sequence), (u128::from_be_bytes([0xab; 16]), 3, 7));
        let plain = headers_of(&stream, 0, None);
        assert_eq!(Caller::of(&plain).expect("a caller").timeout, None);
        assert_eq!(super::super::caller::ProducerStamp::of(&plain).expect("none"), None);
    }

    #[test]
    fn a_stamp_that_makes_no_sense_is_refused() {
        let headers = headers_of(&MetadataMap::new(), 0, Some(ProducerStamp::default()));
        super::super::caller::ProducerStamp::of(&headers).expect_err("no id");
    }

    #[test]
    fn answers_carry_what_the_headers_say() {
        let mut response = Response::new(SendMessageResponse::default());
        response.metadata_mut().insert(QUEUES_HEADER, "3*2".parse().expect("legal"));
        response.metadata_mut().insert(OUTCOME_HEADER, "unknown".parse().expect("legal"));
        let answer = answered(9, &response);
        assert_eq!((answer.number, answer.queues.as_str(), answer.outcome.as_str()), (9, "3*2", "unknown"));
        let failure = failed(9, &Status::unavailable("gone"));
        assert_eq!((failure.grpc_code, failure.grpc_message.as_str()), (14, "gone"));
    }
}
