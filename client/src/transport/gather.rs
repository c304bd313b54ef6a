//! A connection that gathers what is written in one turn of its runtime into one system call.
//!
//! HTTP/2 hands over the head of a request, and after other tasks had their turn its body; each hand-over ends with a
//! flush. A flush here lets those tasks have that turn and writes then, so that a request travels as one packet and
//! wakes the broker once instead of three times.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Gathered at most; more than this is written at once, without a copy.
const GATHERED_BYTES_MAX: usize = 16 << 10;

/// See the module. Invariant: what is gathered comes before anything that is handed over later.
#[derive(Debug)]
pub(super) struct Gather<T> {
    stream: T,
    gathered: BytesMut,
    /// The next flush writes: one was put off since something was gathered.
    due: bool,
}

impl<T: AsyncWrite + Unpin> Gather<T> {
    pub(super) fn new(stream: T) -> Self {
        Self { stream, gathered: BytesMut::with_capacity(GATHERED_BYTES_MAX), due: false }
    }

    fn poll_write_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.gathered))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(written);
        }
        self.due = false;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gather<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gather<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.gathered.len() + bytes > GATHERED_BYTES_MAX {
            ready!(self.poll_write_gathered(cx))?;
            if bytes > GATHERED_BYTES_MAX {
                return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
            }
        }
        for slice in slices {
            self.gathered.extend_from_slice(slice);
        }
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() && !self.due {
            self.due = true;
            // Behind every task that is ready to run now.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_write_gathered(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_gathered(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A stream that takes a few bytes at a time and counts the calls.
    #[derive(Default)]
    struct Narrow {
        taken: Vec<u8>,
        calls: usize,
        at_once: usize,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.at_once);
            self.taken.extend_from_slice(&bytes[..taken]);
            self.calls += 1;
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn narrow(at_once: usize) -> Gather<Narrow> {
        Gather::new(Narrow { at_once, ..Narrow::default() })
    }

    #[tokio::test]
    async fn what_is_written_in_one_turn_is_one_call() {
        let mut stream = narrow(usize::MAX);
        stream.write_all(b"head").await.unwrap();
        assert!(stream.flush().now_or_never().is_none(), "others have their turn first");
        stream.write_all(b"body").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!((stream.stream.taken.as_slice(), stream.stream.calls), (&b"headbody"[..], 1));
    }

    #[tokio::test]
    async fn a_flush_comes_back_by_itself() {
        let mut stream = narrow(3);
        stream.write_all(b"0123456789").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!((stream.stream.taken.as_slice(), stream.stream.calls), (&b"0123456789"[..], 4));
    }

    #[tokio::test]
    async fn large_and_small_pieces_keep_their_order() {
        let mut stream = narrow(1000);
        let mut expected = Vec::new();
        for (round, bytes) in [10, GATHERED_BYTES_MAX - 5, 70_000, 1, GATHERED_BYTES_MAX, 3].into_iter().enumerate() {
            let piece = vec![u8::try_from(round).unwrap(); bytes];
            stream.write_all(&piece).await.unwrap();
            expected.extend(piece);
        }
        stream.shutdown().await.unwrap();
        assert!(stream.stream.taken == expected);
    }

    #[tokio::test]
    async fn reading_goes_through() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut stream = Gather::new(near);
        far.write_all(b"hello").await.unwrap();
        let mut found = [0; 5];
        stream.read_exact(&mut found).await.unwrap();
        assert_eq!(&found, b"hello");
    }
}
