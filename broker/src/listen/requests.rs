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

use http::{Request, Response, request::Parts};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tercet_proto::rocketmq::v2::{Code, SendMessageResponse, Status as Answer};
use tokio::time::timeout;
use tonic::{body::Body as GrpcBody, service::Routes};
use tower::Service as _;

use super::{
    answer::{AnswerBody, whole},
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

/// The body of a request on its way to whoever answers it.
pub(crate) type RequestBody = UnfinishedBody<Incoming>;

/// Answers some of the calls without the generated services.
pub(crate) trait Direct: Send + Sync + 'static {
    /// Whether the call is one of them.
    fn knows(&self, head: &Parts) -> bool;

    /// Answers a call that it knows.
    fn answer(
        &self,
        head: Parts,
        body: RequestBody,
        connection: &Arc<Load>,
    ) -> Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send>>;
}

/// What all connections of a port share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) routes: Routes,
    pub(super) direct: Option<Arc<dyn Direct>>,
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

type Answering = Pin<Box<dyn Future<Output = Result<Response<OpenBody<AnswerBody>>, Infallible>> + Send>>;

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<OpenBody<AnswerBody>>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let forwarded = request.headers().contains_key(HOP_HEADER);
        let open = self.load.open_request(if forwarded { UNREAD_MAX * 2 } else { UNREAD_MAX });
        let within = caller::timeout_in(request.headers());
        let (mut head, body) = request.into_parts();
        let streams = REQUEST_STREAMS.contains(&head.uri.path());
        let sends = head.uri.path() == SEND_MESSAGE;
        let refused = Arc::new(Refused::default());
        let owners = (Arc::clone(&self.shared.budget), Arc::clone(&self.load));
        let body = UnfinishedBody::new(body, streams, owners, Arc::clone(&refused));
        let answering = match &self.shared.direct {
            Some(direct) if direct.knows(&head) => direct.answer(head, body, &self.load),
            _ => {
                head.extensions.insert(Arc::clone(&self.load));
                generated(&self.shared.routes, Request::from_parts(head, GrpcBody::new(body)))
            }
        };
        Box::pin(async move {
            let mut answer = match within {
                None => answering.await,
                Some(within) => timeout(within, answering).await.unwrap_or_else(|_| {
                    tonic::Status::deadline_exceeded("not answered within the client's deadline").into_http()
                }),
            };
            if sends && let Some(why) = refused.why() {
                answer = too_many(why.message());
            }
            Ok(answer.map(|body| OpenBody::new(body, open)))
        })
    }
}

/// Answers by the generated service whose path it is.
fn generated(
    routes: &Routes,
    request: Request<GrpcBody>,
) -> Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send>> {
    let answering = routes.clone().call(request);
    Box::pin(async move {
        let Ok(answer) = answering.await;
        answer.map(AnswerBody::Boxed)
    })
}

/// The typed refusal of a send of which not even the whole request was taken.
fn too_many(why: &str) -> Response<AnswerBody> {
    let status = Answer { code: Code::TooManyRequests.into(), message: why.to_owned() };
    whole(&SendMessageResponse { status: Some(status), entries: Vec::new() })
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
    use http_body_util::BodyExt as _;

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
