//! The service on the wire: as the generated one, but for how answers are encoded.
//!
//! A batch is some hundred kilobytes. Encoded into a buffer that grows by doubling, each of its bytes would be copied twice.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use prost::Message as _;
use tercet_proto::client::v1::{ConsumeAnswer, ConsumeRequest, consume_service_server::SERVICE_NAME};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, NamedService, StreamingService},
};
use tower::Service;

use super::{Consuming, outgoing::Answers};

const PATH: &str = "/tercet.client.v1.ConsumeService/Consume";

/// Serves consume streams.
#[derive(Clone)]
pub struct ConsumeServer {
    consuming: Consuming,
    request_bytes_max: usize,
}

impl ConsumeServer {
    /// Decodes requests of at most so many bytes.
    pub fn new(consuming: Consuming, request_bytes_max: usize) -> ConsumeServer {
        ConsumeServer { consuming, request_bytes_max }
    }
}

impl NamedService for ConsumeServer {
    const NAME: &'static str = SERVICE_NAME;
}

type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<B> Service<http::Request<B>> for ConsumeServer
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answering<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != PATH {
            return Box::pin(async { Ok(Status::unimplemented("there is no such call").into_http()) });
        }
        let ConsumeServer { consuming, request_bytes_max } = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(SizedCodec).apply_max_message_size_config(Some(request_bytes_max), None);
            Ok(grpc.streaming(Consume(consuming), request).await)
        })
    }
}

struct Consume(Consuming);

impl StreamingService<ConsumeRequest> for Consume {
    type Response = ConsumeAnswer;
    type ResponseStream = Answers;
    type Future = Answering<Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<Streaming<ConsumeRequest>>) -> Self::Future {
        let consuming = self.0.clone();
        Box::pin(async move { consuming.consume(request) })
    }
}

/// Protobuf into buffers of the right size.
#[derive(Clone, Copy, Debug)]
struct SizedCodec;

impl Codec for SizedCodec {
    type Encode = ConsumeAnswer;
    type Decode = ConsumeRequest;
    type Encoder = SizedCodec;
    type Decoder = SizedCodec;

    fn encoder(&mut self) -> SizedCodec {
        SizedCodec
    }

    fn decoder(&mut self) -> SizedCodec {
        SizedCodec
    }
}

impl Encoder for SizedCodec {
    type Item = ConsumeAnswer;
    type Error = Status;

    fn encode(&mut self, answer: ConsumeAnswer, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(answer.encoded_len());
        answer.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for SizedCodec {
    type Item = ConsumeRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<ConsumeRequest>, Status> {
        ConsumeRequest::decode(buffer)
            .map(Some)
            .map_err(|error| Status::invalid_argument(format!("the request cannot be read: {error}")))
    }
}
