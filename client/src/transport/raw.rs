//! SendMessage with a request that is already encoded.
//!
//! The producer encodes each message once, into the batch that will carry it. A retry sends the very same bytes, and
//! no message is ever held a second time as a structure.

use bytes::{BufMut as _, Bytes};
use http::uri::PathAndQuery;
use prost::Message as _;
use tercet_proto::rocketmq::v2::SendMessageResponse;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::Channel,
};

use super::ending::EndingRequests;

const PATH: &str = "/apache.rocketmq.v2.MessagingService/SendMessage";
/// Largest answer: a result per message, with room to spare.
pub(super) const ANSWER_BYTES_MAX: usize = 16 << 20;

/// An answer with its metadata.
#[derive(Debug)]
pub(crate) struct SendAnswer {
    pub(crate) metadata: MetadataMap,
    pub(crate) body: SendMessageResponse,
}

/// Sends an encoded `SendMessageRequest`.
pub(super) async fn send_message(channel: Channel, request: Request<Bytes>) -> Result<SendAnswer, Status> {
    let mut grpc = Grpc::new(EndingRequests(channel)).max_decoding_message_size(ANSWER_BYTES_MAX);
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let response = grpc.unary(request, PathAndQuery::from_static(PATH), EncodedCodec).await?;
    let (metadata, body, _) = response.into_parts();
    Ok(SendAnswer { metadata, body })
}

/// Bytes out as they are, a decoded answer in.
#[derive(Debug, Clone, Copy)]
struct EncodedCodec;

impl Codec for EncodedCodec {
    type Encode = Bytes;
    type Decode = SendMessageResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for EncodedCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.reserve(item.len());
        dst.put(item);
        Ok(())
    }
}

impl Decoder for EncodedCodec {
    type Item = SendMessageResponse;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        SendMessageResponse::decode(src)
            .map(Some)
            .map_err(|error| Status::internal(format!("the answer to a publish cannot be read: {error}")))
    }
}
