//! One direction of a simulated stream, and what travels along it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;

use bytes::Bytes;
use tokio::time::Instant;

/// Bytes that a stream holds between its ends, like the buffers of two kernels.
pub(super) const PIPE_BYTES_MAX: usize = 256 << 10;

/// What travels along a stream.
pub(super) enum Piece {
    /// Asks for a connection to this address.
    Syn(SocketAddr),
    /// The connection stands.
    Established,
    Bytes(Bytes),
    /// No more comes.
    End,
    Reset,
}

pub(super) type PipeId = u64;
/// From which host to which.
pub(super) type Link = (IpAddr, IpAddr);

/// One direction of a stream.
pub(super) struct Pipe {
    pub(super) link: Link,
    /// The boots of both hosts when the stream began.
    pub(super) boots: (u64, u64),
    pub(super) in_flight: VecDeque<(Instant, Piece)>,
    pub(super) ready: VecDeque<Bytes>,
    /// Bytes in flight and ready.
    pub(super) bytes: usize,
    pub(super) established: bool,
    pub(super) ended: bool,
    pub(super) reset: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) reader_gone: bool,
    pub(super) writer_gone: bool,
    /// Its writer's host is off, or was switched on anew since: the reader is told then.
    pub(super) given_up: Option<Instant>,
    /// The other direction.
    pub(super) reverse: PipeId,
}

impl Pipe {
    pub(super) fn new(link: Link, boots: (u64, u64), reverse: PipeId) -> Pipe {
        Pipe {
            link,
            boots,
            in_flight: VecDeque::new(),
            ready: VecDeque::new(),
            bytes: 0,
            established: false,
            ended: false,
            reset: false,
            reader: None,
            writer: None,
            reader_gone: false,
            writer_gone: false,
            given_up: None,
            reverse,
        }
    }

    pub(super) fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }
}
