//! The three calls that official clients make for every message, answered below the generated service.
//!
//! ```text
//!                     ┌─ SendMessage, AckMessage, ReceiveMessage ─► read ─► the same function ─► framed answer
//!   request ─► known? ┤
//!                     └─ all others, and what is compressed ─► the generated service
//! ```
//! A call through the generated service and its router costs two buffers of 8 KiB, a dozen boxes and as many copies of the
//! request on its way inward: as much as all that is done with the message. What is refused, how, and what is counted is
//! the same on both ways, because both end in the same functions.

mod items;
mod request;

use std::{pin::Pin, sync::Arc};

use http::request::Parts;
use prost::Message;
use tonic::{
    Extensions, Request, Response, Status,
    metadata::{GRPC_CONTENT_TYPE, MetadataMap},
};

use self::{items::ItemsBody, request::read};
use super::{ack, node::Node, receive, send};
use crate::listen::{AnswerBody, Direct, Load, RequestBody, whole};

const SEND: &str = "/apache.rocketmq.v2.MessagingService/SendMessage";
const ACK: &str = "/apache.rocketmq.v2.MessagingService/AckMessage";
const RECEIVE: &str = "/apache.rocketmq.v2.MessagingService/ReceiveMessage";
/// Says how the messages of a request are compressed.
const ENCODING: &str = "grpc-encoding";

/// The direct way into one node.
pub struct DirectCalls {
    node: Arc<Node>,
}

type Answering = Pin<Box<dyn Future<Output = http::Response<AnswerBody>> + Send>>;

impl DirectCalls {
    /// To this node.
    pub fn new(node: Arc<Node>) -> DirectCalls {
        DirectCalls { node }
    }
}

impl Direct for DirectCalls {
    fn knows(&self, head: &Parts) -> bool {
        let plain = head.headers.get(ENCODING).is_none_or(|encoding| encoding == "identity");
        plain && [SEND, ACK, RECEIVE].contains(&head.uri.path())
    }

    fn answer(&self, head: Parts, body: RequestBody, connection: &Arc<Load>) -> Answering {
        let (node, headers) = (Arc::clone(&self.node), MetadataMap::from_headers(head.headers));
        match head.uri.path() {
            SEND => Box::pin(async move {
                match with(&node, headers, body).await {
                    Ok(request) => one(send::send_message(&node, request).await),
                    Err(status) => status.into_http(),
                }
            }),
            ACK => Box::pin(async move {
                match with(&node, headers, body).await {
                    Ok(request) => one(ack::ack_message(&node, request).await),
                    Err(status) => status.into_http(),
                }
            }),
            _ => {
                let connection = Arc::clone(connection);
                Box::pin(async move {
                    let items = match read(body, node.options.request_bytes_max).await {
                        Ok(message) => receive::receive(&node, headers, Some(connection), message),
                        Err(status) => return status.into_http(),
                    };
                    let mut answer =
                        http::Response::new(AnswerBody::Boxed(tonic::body::Body::new(ItemsBody::new(items))));
                    answer.headers_mut().insert(http::header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
                    answer
                })
            }
        }
    }
}

/// The request with these headers.
async fn with<Q: Message + Default>(
    node: &Node,
    headers: MetadataMap,
    body: RequestBody,
) -> Result<Request<Q>, Status> {
    let message = read(body, node.options.request_bytes_max).await?;
    Ok(Request::from_parts(headers, Extensions::default(), message))
}

/// An answer of one message.
fn one<A: Message>(answer: Result<Response<A>, Status>) -> http::Response<AnswerBody> {
    match answer {
        Ok(answer) => {
            let (headers, message, _) = answer.into_parts();
            let mut answer = whole(&message);
            answer.headers_mut().extend(headers.into_headers());
            answer
        }
        Err(status) => status.into_http(),
    }
}
