//! The requests of one connection, on their way to the services: counted, bounded, and answered within the deadline that the
//! client gives (`grpc-timeout`), whatever becomes of them.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut as _, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use prost::Message as _;
use tercet_proto::rocketmq::v2::{Code, SendMessageResponse, Status as Answer};
use tokio::time::timeout;
use tonic::{body::Body as GrpcBody, service::Routes};
use tower::Service as _;

use super::{
    load::{Load, OpenRequest},
    unfinished::{Budget, Refused, UnfinishedBody},
};
use crate::{forward::HOP_HEADER, grpc::caller};

/// A client that takes nothing of an answer for this long is cut off. Its connection may live: what is pinged is the
/// connection, not the program that should read. A node that forwards gets longer: it cuts its own client off before.
pub(crate) const UNREAD_MAX: Duration = Duration::from_secs(30);
/// RPCs whose requests are streams, which stay open as long as the client likes.
const REQUEST_STREAMS: [&str; 3] = [
    "/apache.rocketmq.v2.MessagingService/Telemetry",
    "/tercet.client.v1.ConsumeService/Consume",
    "/tercet.client.v1.PublishService/Publish",
];
/// The RPC whose refusal official clients understand, and slow down for.
const SEND_MESSAGE: &str = "/apache.rocketmq.v2.MessagingService/SendMessage";

/// What all connections of a port share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) routes: Routes,
    pub(super) budget: Arc<Budget>,
}

/// The services as one connection sees them.
#[derive(Clone)]
pub(super) struct Requests {
    shared: Shared,
    load: Arc<Load>,
}

impl Requests {
    pub(super) fn new(shared: Shared, load: Arc<Load>) -> Requests {
        Requests { shared, load }
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<OpenBody<GrpcBody>>, Infallible>> + Send>>;

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<OpenBody<GrpcBody>>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let forwarded = request.headers().contains_key(HOP_HEADER);
        let open = self.load.open_request(if forwarded { UNREAD_MAX * 2 } else { UNREAD_MAX });
        let within = caller::timeout_in(request.headers());
        let (mut head, body) = request.into_parts();
        head.extensions.insert(Arc::clone(&self.load));
        let streams = REQUEST_STREAMS.contains(&head.uri.path());
        let sends = head.uri.path() == SEND_MESSAGE;
        let refused = Arc::new(Refused::default());
        let owners = (Arc::clone(&self.shared.budget), Arc::clone(&self.load));
        let body = UnfinishedBody::new(body, streams, owners, Arc::clone(&refused));
        let answering = self.shared.routes.clone().call(Request::from_parts(head, GrpcBody::new(body)));
        Box::pin(async move {
            let mut answer = match within {
                None => answering.await?,
                Some(within) => match timeout(within, answering).await {
                    Ok(answer) => answer?,
                    Err(_) => tonic::Status::deadline_exceeded("not answered within the client's deadline").into_http(),
                },
            };
            if sends && let Some(why) = refused.why() {
                answer = too_many(why.message());
            }
            Ok(answer.map(|body| OpenBody::new(body, open)))
        })
    }
}

/// The typed refusal of a send of which not even the whole request was taken.
fn too_many(why: &str) -> Response<GrpcBody> {
    let status = Answer { code: Code::TooManyRequests.into(), message: why.to_owned() };
    let message = SendMessageResponse { status: Some(status), entries: Vec::new() }.encode_to_vec();
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a line of text"));
    frame.extend_from_slice(&message);
    let ended = HeaderMap::from_iter([(tonic::Status::GRPC_STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(frame.freeze()).with_trailers(async { Some(Ok(ended)) });
    let mut answer = Response::new(GrpcBody::new(body));
    answer.headers_mut().insert(CONTENT_TYPE, tonic::metadata::GRPC_CONTENT_TYPE);
    answer
}

/// An answer on its way out; its request is open until then.
pub(crate) struct OpenBody<B> {
    body: B,
    open: OpenRequest,
}

impl<B> OpenBody<B> {
    /// Its head waits to be taken: a client may leave no room for a single byte behind it.
    pub(crate) fn new(body: B, mut open: OpenRequest) -> OpenBody<B> {
        open.waits_to_be_taken(true);
        OpenBody { body, open }
    }
}

impl<B: Body + Unpin> Body for OpenBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        // HTTP/2 asks for the next frame once the other side has room for it.
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.open.waits_to_be_taken(matches!(frame, Poll::Ready(Some(_))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_which_not_a_byte_is_asked_for_is_unread_in_the_end() {
        let load = Arc::new(Load::new());
        let mut read = OpenBody::new(GrpcBody::empty(), load.open_request(UNREAD_MAX));
        assert!(read.frame().await.is_none());
        tokio::time::advance(UNREAD_MAX * 2).await;
        assert!(!load.is_unread());
        let _unread = OpenBody::new(GrpcBody::empty(), load.open_request(UNREAD_MAX));
        tokio::time::advance(UNREAD_MAX * 2).await;
        assert!(load.is_unread());
    }
}
