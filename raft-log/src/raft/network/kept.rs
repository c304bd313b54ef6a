//! A kept connection for one small request at a time: the leader's heartbeats.
//!
//! openraft gives up a heartbeat that is not answered within the interval. On a busy machine that is no reason to close the
//! connection, and closing it would tell the follower that this process is gone (see [`super::leader_watch`]). So what
//! was sent stays owed, and the next heartbeat waits for those answers first.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::raft::network::net::TcpStream;
use crate::raft::network::socket::write_pieces;
use crate::raft::type_config::TypeConfig;
use crate::raft::wire::append::{ANSWER_BYTES, decode_answer, encode_request, room_of_answer};
use crate::storage::Room;

/// A follower that owes an answer for this long hangs; the connection is made anew.
const OWED_MAX: Duration = Duration::from_secs(2);

/// An open connection. Every call may be dropped at any point.
pub(crate) struct Kept {
    stream: TcpStream,
    buffer: BytesMut,
    /// Requests without answer.
    owed: usize,
    /// When the follower last owed nothing.
    since: Instant,
    /// A request was cut short: nothing can follow it.
    cut: bool,
}

impl Kept {
    pub(crate) fn new(stream: TcpStream) -> Kept {
        Kept { stream, buffer: BytesMut::with_capacity(16 * ANSWER_BYTES), owed: 0, since: Instant::now(), cut: false }
    }

    /// Whether another request may be sent.
    pub(crate) fn is_usable(&self) -> bool {
        !self.cut && (self.owed == 0 || self.since.elapsed() < OWED_MAX)
    }

    /// Sends the request and waits for its answer, which is the last one owed, and what it says of the follower's disk.
    pub(crate) async fn exchange(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> io::Result<(StreamAppendResult<TypeConfig>, Room)> {
        if self.owed == 0 {
            self.since = Instant::now();
        }
        self.cut = true;
        write_pieces(&mut self.stream, encode_request(request)).await?;
        self.cut = false;
        self.owed += 1;
        loop {
            while self.buffer.len() < ANSWER_BYTES {
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let bytes = self.buffer.first_chunk().expect("the loop above fills it");
            let (answer, room) = (decode_answer(bytes).map_err(io::Error::other)?, room_of_answer(bytes));
            self.buffer.advance(ANSWER_BYTES);
            self.owed -= 1;
            if self.owed == 0 {
                return Ok((answer, room));
            }
        }
    }
}
