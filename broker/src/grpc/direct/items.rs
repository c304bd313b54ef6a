//! The items of an answer to a receive as the bytes of an answer.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::HeaderMap;
use http_body::{Body, Frame};
use tonic::Status;

use crate::{
    grpc::receive_items::Items,
    listen::{put, well},
};

/// A piece leaves when it has so many bytes, or when no further item is there yet.
const PIECE_BYTES: usize = 32 << 10;

/// The items, a piece of several at a time, and behind them how it ended.
pub(super) struct ItemsBody {
    items: Items,
    /// What follows the last item, once that is known.
    end: Option<HeaderMap>,
    ended: bool,
}

impl ItemsBody {
    pub(super) fn new(items: Items) -> ItemsBody {
        ItemsBody { items, end: None, ended: false }
    }

    /// Appends what is there. Pending if more may come.
    fn fill(&mut self, piece: &mut BytesMut, cx: &mut Context<'_>) -> Poll<()> {
        while self.end.is_none() && piece.len() < PIECE_BYTES {
            match Pin::new(&mut self.items).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(item))) => put(&item, piece),
                Poll::Ready(Some(Err(status))) => self.end = Some(ended_by(&status)),
                Poll::Ready(None) => self.end = Some(well()),
            }
        }
        Poll::Ready(())
    }
}

fn ended_by(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).expect("a status of ours is legal in headers");
    trailers
}

impl Body for ItemsBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let mut piece = BytesMut::new();
        let filled = this.fill(&mut piece, cx);
        if !piece.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(piece.freeze()))));
        }
        if filled.is_pending() {
            return Poll::Pending;
        }
        this.ended = true;
        let trailers = this.end.take().expect("nothing is left and nothing more comes");
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf as _;
    use http_body_util::BodyExt as _;
    use prost::Message as _;
    use tercet_proto::rocketmq::v2::{Message, ReceiveMessageResponse, receive_message_response::Content};
    use tonic::Code;

    use super::*;
    use crate::{grpc::receive_items, listen::PREFIX_BYTES};

    fn message(bytes: usize) -> ReceiveMessageResponse {
        let body = Bytes::from(vec![b'x'; bytes]);
        ReceiveMessageResponse { content: Some(Content::Message(Message { body, ..Message::default() })) }
    }

    fn decoded(mut bytes: Bytes) -> Vec<ReceiveMessageResponse> {
        let mut items = Vec::new();
        while !bytes.is_empty() {
            assert_eq!(bytes.get_u8(), 0, "uncompressed");
            let length = bytes.get_u32() as usize;
            items.push(ReceiveMessageResponse::decode(bytes.split_to(length)).expect("an item"));
        }
        items
    }

    /// What comes of these items and then the end, or an error.
    async fn written(items: &[ReceiveMessageResponse], error: Option<Status>) -> (Vec<Bytes>, HeaderMap) {
        let (sender, taken) = receive_items::answer(None);
        for item in items {
            sender.send(Ok(item.clone()), None).await.expect("room");
        }
        if let Some(status) = error {
            sender.send(Err(status), None).await.expect("room");
        }
        drop(sender);
        let (mut body, mut pieces) = (ItemsBody::new(taken), Vec::new());
        loop {
            match body.frame().await.expect("trailers come last").expect("no error").into_data() {
                Ok(piece) => pieces.push(piece),
                Err(frame) => {
                    assert!(body.is_end_stream() && body.frame().await.is_none());
                    return (pieces, frame.into_trailers().expect("no data"));
                }
            }
        }
    }

    #[tokio::test]
    async fn what_waits_leaves_in_one_piece_and_large_messages_in_several() {
        let items = [message(1), message(1000), message(0)];
        let (pieces, trailers) = written(&items, None).await;
        assert_eq!((pieces.len(), &trailers["grpc-status"]), (1, &http::HeaderValue::from_static("0")));
        assert_eq!(decoded(pieces[0].clone()), items);
        let items = [message(PIECE_BYTES), message(1), message(PIECE_BYTES - PREFIX_BYTES), message(1)];
        let (pieces, _) = written(&items, None).await;
        let counts: Vec<usize> = pieces.iter().map(|piece| decoded(piece.clone()).len()).collect();
        assert_eq!(counts, [1, 2, 1]);
    }

    #[tokio::test]
    async fn an_error_comes_behind_what_was_there_before_it() {
        let (pieces, trailers) = written(&[message(1)], Some(Status::unavailable("gone"))).await;
        assert_eq!(decoded(pieces[0].clone()), [message(1)]);
        let code = trailers["grpc-status"].to_str().expect("digits").parse::<i32>().expect("a number");
        assert_eq!(
            (Code::from(code), &trailers["grpc-message"]),
            (Code::Unavailable, &http::HeaderValue::from_static("gone"))
        );
    }

    #[tokio::test]
    async fn nothing_is_there_until_an_item_comes() {
        let (sender, taken) = receive_items::answer(None);
        let mut body = ItemsBody::new(taken);
        assert!(futures::poll!(body.frame()).is_pending());
        sender.send(Ok(message(7)), None).await.expect("room");
        let piece = body.frame().await.expect("a piece").expect("no error").into_data().expect("data");
        assert_eq!(decoded(piece), [message(7)]);
        assert!(futures::poll!(body.frame()).is_pending());
    }
}
