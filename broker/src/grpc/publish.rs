//! `tercet.client.v1.PublishService`: SendMessage for many requests over one stream.
//!
//! ```text
//!   requests ─► [room] ─► each as a SendMessage with the stream's headers ─► answers as they come ─► connection
//!     └──────────── together up to REQUESTS_MAX: a request is taken when its answer has a place ───────────────┘
//! ```
//! They are worked on by a task of their own, whether or not the client reads: one that is under way has places on its way to
//! the leader, for which others wait.
//!
//! A call of its own for each publish costs more than storing it: its headers, its task, its trailers. What a request
//! means, how it is checked, forwarded and answered is exactly [`send`]'s.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use prost::Message as _;
use tercet_proto::{
    client::v1::{PublishAnswer, PublishRequest, publish_service_server::PublishService},
    headers,
    rocketmq::v2::{SendMessageRequest, SendMessageResponse},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming, async_trait,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

use super::{caller::Caller, node::Node, send, stamp};
use crate::{
    forward::Place,
    publish::{SubmitError, TakenRoom},
};

/// Requests of one stream that are worked on at once or whose answers wait. The others wait in the connection's window, as do all
/// while there is no room for them.
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
    type PublishStream = ReceiverStream<Result<PublishAnswer, Status>>;

    async fn publish(
        &self,
        request: Request<Streaming<PublishRequest>>,
    ) -> Result<Response<Self::PublishStream>, Status> {
        let (mut headers, _, requests) = request.into_parts();
        stamp::remove_headers(&mut headers);
        Caller::of(&headers).map_err(|refusal| Status::invalid_argument(refusal.message))?;
        let (answers, outgoing) = mpsc::channel(REQUESTS_MAX);
        tokio::spawn(work(Arc::clone(&self.node), Arc::new(headers), requests, answers));
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

/// Answers all requests, until the client ends them or goes away.
async fn work(
    node: Arc<Node>,
    headers: Arc<MetadataMap>,
    requests: impl Stream<Item = Result<PublishRequest, Status>> + Send,
    answers: mpsc::Sender<Result<PublishAnswer, Status>>,
) {
    // A node that stops takes no more requests, and answers those that it took.
    let taken = Box::pin(requests.take_until(node.stop.clone().cancelled_owned()));
    let admitted = stream::unfold((taken, answers.clone()), |(mut taken, answers)| {
        let node = Arc::clone(&node);
        async move {
            // In this order: what waits for the client to read holds nothing that others wait for.
            let place = answers.clone().reserve_owned().await.ok()?;
            let admitted = admit(&node, taken.next().await?).await;
            Some(((place, admitted), (taken, answers)))
        }
    });
    let working = admitted.for_each_concurrent(None, |(place, admitted)| {
        let answering = answer(Arc::clone(&node), Arc::clone(&headers), admitted);
        async { drop(place.send(answering.await)) }
    });
    tokio::select! {
        () = working => {}
        () = answers.closed() => {}
    }
}

/// A request whose turn it is.
struct Admitted {
    request: PublishRequest,
    /// What is left of its time-out, in milliseconds; 0 if it has none.
    left_ms: u64,
    /// None if there was none in time. It is taken until the request is stored or surely is not, though the client waits no longer.
    room: Option<Arc<TakenRoom>>,
}

/// Waits for room. The stream is read no further meanwhile.
async fn admit(node: &Node, request: Result<PublishRequest, Status>) -> Result<Admitted, Status> {
    let request = request?;
    let came = Instant::now();
    let passed_on = node.relay.leadership().place() != Some(Place::Here);
    // Whoever waits for the answer is told before he gives up.
    let within = (request.timeout_ms > 0).then(|| Duration::from_millis(request.timeout_ms) / 4 * 3);
    let room = node.stream_room.take(request.send.len(), passed_on, within).await;
    // A node that stood still finds room for what nobody waits for any more.
    let left_ms = left_of(request.timeout_ms, came.elapsed());
    let room = room.filter(|_| left_ms.is_some()).map(Arc::new);
    Ok(Admitted { request, left_ms: left_ms.unwrap_or(0), room })
}

/// Answers one request. An error ends the stream: only the stream itself can be at fault then.
async fn answer(
    node: Arc<Node>,
    headers: Arc<MetadataMap>,
    admitted: Result<Admitted, Status>,
) -> Result<PublishAnswer, Status> {
    let Admitted { request: PublishRequest { number, producer, send, .. }, left_ms, room } = admitted?;
    let headers = headers_of(&headers, left_ms);
    let Some(room) = room else {
        let request = Request::from_parts(headers, tonic::Extensions::new(), SendMessageRequest::default());
        return Ok(match send::refuse(&node, request, SubmitError::Overloaded).await {
            Ok(refused) => answered(number, &refused),
            Err(status) => failed(number, &status),
        });
    };
    let message = match SendMessageRequest::decode(send) {
        Ok(message) => message,
        Err(error) => {
            let why = format!("field send is no SendMessageRequest: {error}");
            return Ok(failed(number, &Status::invalid_argument(why)));
        }
    };
    let stamp = producer.map(|producer| stamp::of_request(&producer)).transpose();
    let request = Request::from_parts(headers, tonic::Extensions::new(), message);
    Ok(match send::send_stamped(&node, request, stamp, Some(room)).await {
        Ok(response) => answered(number, &response),
        Err(status) => failed(number, &status),
    })
}

/// What is left of a time-out, in milliseconds; nothing if it is over. 0 is no time-out, and stays that.
fn left_of(timeout_ms: u64, waited: Duration) -> Option<u64> {
    let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    if timeout_ms == 0 { Some(0) } else { timeout_ms.checked_sub(waited_ms).filter(|left| *left > 0) }
}

/// The stream's headers with the request's own deadline. Its stamp goes beside them.
fn headers_of(stream: &MetadataMap, timeout_ms: u64) -> MetadataMap {
    let mut headers = stream.clone();
    headers.remove("grpc-timeout");
    if timeout_ms > 0 {
        // At most 8 digits are legal; more than a day is as good as none.
        let text = format!("{}m", timeout_ms.min(99_999_999));
        let text: MetadataValue<Ascii> = text.parse().expect("digits and letters are legal");
        headers.insert("grpc-timeout", text);
    }
    headers
}

fn answered(number: u64, response: &Response<SendMessageResponse>) -> PublishAnswer {
    PublishAnswer {
        number,
        send: response.get_ref().encode_to_vec().into(),
        queues: header(response.metadata(), headers::QUEUES),
        outcome: header(response.metadata(), headers::OUTCOME),
        ..PublishAnswer::default()
    }
}

fn failed(number: u64, status: &Status) -> PublishAnswer {
    PublishAnswer {
        number,
        outcome: header(status.metadata(), headers::OUTCOME),
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
    fn a_request_has_the_streams_headers_and_its_own_deadline() {
        let mut stream = MetadataMap::new();
        stream.insert("x-mq-client-id", "c".parse().expect("legal"));
        stream.insert("grpc-timeout", "1S".parse().expect("legal"));
        let caller = Caller::of(&headers_of(&stream, 2500)).expect("a caller");
        assert_eq!((caller.client_id.as_str(), caller.timeout), ("c", Some(std::time::Duration::from_millis(2500))));
        assert_eq!(Caller::of(&headers_of(&stream, 0)).expect("a caller").timeout, None);
    }

    #[test]
    fn what_waited_for_room_has_the_rest_of_its_time() {
        assert_eq!(left_of(0, Duration::from_secs(9)), Some(0), "it never had a deadline");
        assert_eq!(left_of(3000, Duration::from_millis(1)), Some(2999));
        assert_eq!(left_of(3000, Duration::from_secs(3)), None, "it is refused");
        assert_eq!(left_of(3000, Duration::from_secs(4)), None);
    }

    #[test]
    fn answers_carry_what_the_headers_say() {
        let mut response = Response::new(SendMessageResponse::default());
        response.metadata_mut().insert(headers::QUEUES, "5:3*2".parse().expect("legal"));
        response.metadata_mut().insert(headers::OUTCOME, "unknown".parse().expect("legal"));
        let answer = answered(9, &response);
        assert_eq!((answer.number, answer.queues.as_str(), answer.outcome.as_str()), (9, "5:3*2", "unknown"));
        let failure = failed(9, &Status::unavailable("gone"));
        assert_eq!((failure.grpc_code, failure.grpc_message.as_str()), (14, "gone"));
    }
}
