//! The body of an answer, from whichever way its request took.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use prost::Message;
use tonic::{Status, body::Body as GrpcBody, metadata::GRPC_CONTENT_TYPE};

/// Compression flag and length of a message, in bytes.
pub(crate) const PREFIX_BYTES: usize = 5;

/// An answer on its way out.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// Made by a generated service, or a stream.
    Boxed(GrpcBody),
    /// One message, and behind it that all went well.
    Whole(Whole),
}

/// What of one message and its trailers has not left yet.
#[derive(Debug)]
pub(crate) enum Whole {
    Message(Bytes),
    Trailers,
    Nothing,
}

impl Default for AnswerBody {
    fn default() -> AnswerBody {
        AnswerBody::Boxed(GrpcBody::empty())
    }
}

/// The answer that is this message.
pub(crate) fn whole(message: &impl Message) -> Response<AnswerBody> {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.encoded_len());
    put(message, &mut frame);
    let mut answer = Response::new(AnswerBody::Whole(Whole::Message(frame.freeze())));
    answer.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    answer
}

/// Appends a message with its prefix, uncompressed.
pub(crate) fn put(message: &impl Message, frame: &mut BytesMut) {
    let bytes = message.encoded_len();
    frame.reserve(PREFIX_BYTES + bytes);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(bytes).expect("far below the largest request"));
    message.encode(frame).expect("room was made");
}

/// What follows the messages of an answer that went well.
pub(crate) fn well() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let whole = match self.get_mut() {
            AnswerBody::Boxed(body) => return Pin::new(body).poll_frame(cx),
            AnswerBody::Whole(whole) => whole,
        };
        let next = match whole {
            Whole::Message(_) => Whole::Trailers,
            Whole::Trailers | Whole::Nothing => Whole::Nothing,
        };
        Poll::Ready(match std::mem::replace(whole, next) {
            Whole::Message(message) => Some(Ok(Frame::data(message))),
            Whole::Trailers => Some(Ok(Frame::trailers(well()))),
            Whole::Nothing => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Boxed(body) => body.is_end_stream(),
            AnswerBody::Whole(whole) => matches!(whole, Whole::Nothing),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Boxed(body) => body.size_hint(),
            // It would become a header that no client of gRPC looks at.
            AnswerBody::Whole(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tercet_proto::rocketmq::v2::Status as Answer;

    use super::*;

    #[tokio::test]
    async fn a_message_is_followed_by_its_status() {
        let message = Answer { code: 20_000, message: String::from("fine") };
        let collected = whole(&message).into_body().collect().await.expect("no error");
        assert_eq!(collected.trailers().expect("trailers")[Status::GRPC_STATUS], "0");
        let bytes = collected.to_bytes();
        assert_eq!((bytes[0], &bytes[1..PREFIX_BYTES]), (0, &10_u32.to_be_bytes()[..]));
        assert_eq!(Answer::decode(&bytes[PREFIX_BYTES..]), Ok(message));
    }
}
