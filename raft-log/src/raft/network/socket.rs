//! Connections and frames.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::raft::network::net::{self, TcpStream};
use crate::raft::wire::FRAME_BYTES_MAX;

/// A connection that is not up by then is given up.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A new buffer of the reader; what was taken out of the last one keeps that alive.
const BUFFER_BYTES: usize = 256 << 10;
/// Less room than this is not worth a read.
const READ_BYTES_MIN: usize = 32 << 10;
/// Pieces of one vectored write; Linux takes 1,024 at most.
const WRITE_PIECES_MAX: usize = 64;

/// Work on a connection that is given up after `limit`; the connection is of no use then.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("nothing came or went for {limit:?}"));
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

/// Opens a connection; the name is resolved now, so that a changed address is found (hazards 28).
pub(crate) async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
    net::guard(&stream)?;
    Ok(stream)
}

/// Reads frames off a stream, many at a time.
pub(crate) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R) -> FrameReader<R> {
        FrameReader { stream, buffer: BytesMut::new() }
    }

    /// What it reads, to write to if that goes both ways.
    pub(crate) fn stream(&mut self) -> &mut R {
        &mut self.stream
    }

    /// The next frame's body, sharing the reader's memory; `None` at a clean end.
    ///
    /// # Errors
    /// When the stream breaks, ends inside a frame, or states a frame above the limit.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if !self.fill(4).await? {
            return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let length = self.buffer.get_u32_le() as usize;
        if length > FRAME_BYTES_MAX {
            let reason = format!("a frame of {length} bytes is above the limit of {FRAME_BYTES_MAX}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        if !self.fill(length).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Reads until `bytes` are there; `false` when the stream ended before.
    async fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        while self.buffer.len() < bytes {
            let missing = bytes - self.buffer.len();
            let room = self.buffer.capacity() - self.buffer.len();
            if room < missing.max(READ_BYTES_MIN) {
                self.buffer.reserve(missing.max(BUFFER_BYTES));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Writes one frame.
pub(crate) async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).expect("frames are far below 4 GiB");
    let mut frame = BytesMut::with_capacity(4 + body.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(body);
    stream.write_all(&frame).await
}

/// Writes all pieces, without copying them together.
pub(crate) async fn write_pieces(stream: &mut (impl AsyncWrite + Unpin), pieces: Vec<Bytes>) -> io::Result<()> {
    let mut pieces = std::collections::VecDeque::from(pieces);
    while !pieces.is_empty() {
        let slices: Vec<io::IoSlice<'_>> =
            pieces.iter().take(WRITE_PIECES_MAX).map(|piece| io::IoSlice::new(piece)).collect();
        let mut written = stream.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(first) = pieces.front_mut() {
            if written < first.len() {
                first.advance(written);
                break;
            }
            written -= first.len();
            pieces.pop_front();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_arrive_however_they_are_cut() {
        let (mut near, far) = tokio::io::duplex(3);
        let mut reader = FrameReader::new(far);
        let sender = tokio::spawn(async move {
            for body in [&b"first"[..], b"", b"the third one"] {
                write_frame(&mut near, body).await.unwrap();
            }
        });
        for body in [&b"first"[..], b"", b"the third one"] {
            assert_eq!(reader.next().await.unwrap().unwrap(), body);
        }
        assert!(reader.next().await.unwrap().is_none());
        sender.await.unwrap();
    }

    #[tokio::test]
    async fn an_oversized_or_cut_frame_is_an_error() {
        let huge = u32::try_from(FRAME_BYTES_MAX + 1).unwrap().to_le_bytes();
        assert!(FrameReader::new(&huge[..]).next().await.is_err());
        assert!(FrameReader::new(&[5, 0, 0, 0, 1][..]).next().await.is_err());
        assert!(FrameReader::new(&[5, 0][..]).next().await.is_err());
    }

    #[tokio::test]
    async fn pieces_are_written_in_order_past_partial_writes() {
        let pieces: Vec<Bytes> = (0..200_u8).map(|i| Bytes::from(vec![i; usize::from(i) % 7])).collect();
        let expected = pieces.concat();
        let (mut near, mut far) = tokio::io::duplex(5);
        let sender = tokio::spawn(async move { write_pieces(&mut near, pieces).await.unwrap() });
        let mut got = vec![0; expected.len()];
        far.read_exact(&mut got).await.unwrap();
        sender.await.unwrap();
        assert_eq!(got, expected);
    }
}
