//! The ends of a simulated stream.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::sim::Process;
use crate::sim::net::pipe::{PIPE_BYTES_MAX, Piece, PipeId};
use crate::sim::net::state::{Ends, Network};

/// A stream between two hosts.
pub struct TcpStream {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
}

/// The end that reads.
pub struct OwnedReadHalf {
    network: Network,
    pipe: PipeId,
}

/// The end that writes; dropping it tells the reader that no more comes.
pub struct OwnedWriteHalf {
    network: Network,
    pipe: PipeId,
}

impl TcpStream {
    pub(super) fn new(network: Network, ends: Ends) -> TcpStream {
        TcpStream {
            read: OwnedReadHalf { network: network.clone(), pipe: ends.read },
            write: OwnedWriteHalf { network, pipe: ends.write },
        }
    }

    /// Connects to `address`, an IP address or a name, and a port.
    pub async fn connect(address: &str) -> io::Result<TcpStream> {
        let network = Network::current();
        let from = Process::current().expect("processes open streams").address();
        let ends = network.dial(from, network.resolve(address)?);
        let stream = TcpStream::new(network, ends);
        poll_fn(|context| {
            let mut state = stream.read.network.lock();
            match state.pipes.get_mut(&stream.read.pipe) {
                Some(pipe) if pipe.reset => Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionRefused))),
                Some(pipe) if pipe.established => Poll::Ready(Ok(())),
                Some(pipe) => {
                    pipe.reader = Some(context.waker().clone());
                    Poll::Pending
                }
                None => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            }
        })
        .await?;
        Ok(stream)
    }

    /// Both ends, to be used apart.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        (self.read, self.write)
    }

    /// Both ends, borrowed.
    pub fn split(&mut self) -> (&mut OwnedReadHalf, &mut OwnedWriteHalf) {
        (&mut self.read, &mut self.write)
    }
}

impl Drop for OwnedReadHalf {
    fn drop(&mut self) {
        self.network.leave(self.pipe, false);
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        self.network.leave(self.pipe, true);
    }
}

impl AsyncRead for OwnedReadHalf {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.network.lock();
        let Some(pipe) = state.pipes.get_mut(&self.pipe) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        if let Some(first) = pipe.ready.front_mut() {
            let length = first.len().min(out.remaining());
            out.put_slice(&first[..length]);
            first.advance(length);
            if first.is_empty() {
                pipe.ready.pop_front();
            }
            pipe.bytes -= length;
            if let Some(writer) = pipe.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
        if pipe.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.ended {
            return Poll::Ready(Ok(()));
        }
        pipe.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for OwnedWriteHalf {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let length = {
            let mut state = self.network.lock();
            let Some(pipe) = state.pipes.get_mut(&self.pipe) else {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            };
            if pipe.reset || pipe.writer_gone {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let room = PIPE_BYTES_MAX - pipe.bytes;
            if room == 0 {
                pipe.writer = Some(context.waker().clone());
                return Poll::Pending;
            }
            let length = room.min(bytes.len());
            pipe.bytes += length;
            length
        };
        self.network.send(self.pipe, Piece::Bytes(Bytes::copy_from_slice(&bytes[..length])));
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.leave(self.pipe, true);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(context, out)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(context)
    }
}
