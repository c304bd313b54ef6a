//! The one message of a request, out of the pieces in which it comes.

use bytes::{Buf as _, Bytes};
use http_body::Body;
use http_body_util::BodyExt as _;
use prost::Message;
use tonic::Status;

use crate::listen::PREFIX_BYTES;

/// Room for the rest of a message is made at once when so much of it has come: what was only announced costs nothing.
const BELIEVED_FROM: usize = 64 << 10;

/// Reads a request to its end.
///
/// # Errors
/// As the generated service answers: `OutOfRange` for a message larger than `bytes_max`, `Internal` for what is no message of
/// this kind, for none and for a part of one; and for more than one. Whatever the body itself fails with.
pub(super) async fn read<Q, B>(mut body: B, bytes_max: usize) -> Result<Q, Status>
where
    Q: Message + Default,
    B: Body<Data = Bytes, Error = Status> + Unpin,
{
    let mut gathered = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers of a request say nothing.
        let Ok(data) = frame?.into_data() else { continue };
        if gathered.is_empty() {
            // A copy of its own: a slice would hold the connection's whole buffer.
            gathered.reserve_exact(data.len());
        }
        gathered.extend_from_slice(&data);
        if let Some(end) = end_of_message(&gathered, bytes_max)? {
            if gathered.len() > end {
                return Err(Status::internal("a second message in a request of one"));
            }
            if gathered.len() >= BELIEVED_FROM {
                gathered.reserve_exact(end - gathered.len());
            }
        }
        if body.is_end_stream() {
            break;
        }
    }
    match end_of_message(&gathered, bytes_max)? {
        None if gathered.is_empty() => Err(Status::internal("Missing request message.")),
        Some(end) if gathered.len() == end => {
            let mut message = Bytes::from(gathered);
            message.advance(PREFIX_BYTES);
            Q::decode(message).map_err(|error| Status::internal(error.to_string()))
        }
        _ => Err(Status::internal("the request ends in the middle of its message")),
    }
}

/// Where the message ends, with its prefix, once that is known.
fn end_of_message(gathered: &[u8], bytes_max: usize) -> Result<Option<usize>, Status> {
    let Some((prefix, _)) = gathered.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let [flag, length @ ..] = *prefix;
    if flag != 0 {
        return Err(Status::internal("the message is marked as compressed, and no grpc-encoding says how"));
    }
    let bytes = u32::from_be_bytes(length) as usize;
    if bytes > bytes_max {
        return Err(Status::out_of_range(format!("a message of {bytes} bytes, at most {bytes_max} are taken")));
    }
    Ok(Some(PREFIX_BYTES + bytes))
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;
    use tercet_proto::rocketmq::v2::Status as Answer;
    use tonic::Code;

    use super::*;

    fn framed() -> (Answer, Vec<u8>) {
        let message = Answer { code: 7, message: "x".repeat(300) };
        let encoded = message.encode_to_vec();
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(encoded.len()).expect("short").to_be_bytes());
        bytes.extend(encoded);
        (message, bytes)
    }

    async fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Answer, Status> {
        let pieces = pieces.into_iter().map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))));
        let body = StreamBody::new(futures::stream::iter(pieces.collect::<Vec<Result<_, Status>>>()));
        read(body, 1000).await
    }

    #[tokio::test]
    async fn a_message_is_read_however_it_is_cut() {
        let (message, bytes) = framed();
        for at in 0..bytes.len() {
            let (before, behind) = bytes.split_at(at);
            assert_eq!(read_pieces([before, behind]).await.expect("whole"), message, "cut at {at}");
        }
        assert_eq!(read_pieces(bytes.chunks(1)).await.expect("whole"), message);
    }

    #[tokio::test]
    async fn what_is_no_single_message_is_refused() {
        let (_, bytes) = framed();
        for end in 0..bytes.len() {
            assert_eq!(read_pieces([&bytes[..end]]).await.expect_err("a part").code(), Code::Internal);
        }
        let twice = [&bytes[..], &bytes[..]].concat();
        let mut compressed = bytes.clone();
        compressed[0] = 1;
        let mut malformed = bytes.clone();
        malformed[PREFIX_BYTES] = 0xff;
        for odd in [twice, compressed, malformed] {
            assert_eq!(read_pieces([&odd[..]]).await.expect_err("odd").code(), Code::Internal);
        }
    }

    #[tokio::test]
    async fn a_message_that_is_too_large_is_refused_by_its_prefix() {
        let announced = [0, 0, 0, 0x03, 0xe9];
        assert_eq!(read_pieces([&announced[..]]).await.expect_err("1001 bytes").code(), Code::OutOfRange);
        let fits = [0, 0, 0, 0x03, 0xe8];
        assert_eq!(read_pieces([&fits[..]]).await.expect_err("it ends there").code(), Code::Internal);
    }
}
