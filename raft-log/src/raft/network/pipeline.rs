//! Many AppendEntries requests in flight on one connection.
//!
//! ```text
//!   input ─► writer task ══════════════════► follower
//!               │ window: what is in flight, when it was sent, how many bytes
//!   output ◄─ answers, in order ◄═══════════ follower
//! ```
//! - The first request is pulled before connecting, because openraft's back-off lives inside the request stream.
//! - The output ends when the input has ended and every answer is there. A follower that lost its power then never closes
//!   its end, and is not waited for.
//! - A request without answer for [`ANSWER_TIMEOUT`] ends the connection: a hung peer would block everything behind it.
//! - The bytes in flight are bounded; a request larger than the bound passes alone.
//! - A request that says nothing which the next one does not say is not sent. openraft goes by what an answer says is
//!   matched, not by the number of answers.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use openraft::error::{NetworkError, RPCError};
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use openraft::type_config::TypeConfigExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use crate::planted;
use crate::raft::network::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream};
use crate::raft::network::socket::write_pieces;
use crate::raft::type_config::TypeConfig;
use crate::raft::wire::append::{ANSWER_BYTES, Report, decode_answer, encode_request, report_of_answer};

/// How long a request may stay unanswered.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an idle connection looks at the oldest request in flight.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// A request without entries only tells how far the log is committed. If another request comes within this time, that
/// one tells it too and the first is not sent: under steady load a follower is not woken twice for each entry.
const COMMIT_LINGER: Duration = Duration::from_millis(1);
/// Bytes in flight to one peer.
const BYTES_IN_FLIGHT_MAX: usize = 16 << 20;

/// What the follower answered to one request, or why there is no answer.
pub(crate) type Answer = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

struct Sent {
    bytes: usize,
    at: Instant,
}

/// Requests in flight, oldest first.
struct Window {
    sent: Mutex<VecDeque<Sent>>,
    /// No more is sent.
    ended: AtomicBool,
    room: Semaphore,
}

impl Window {
    fn new() -> Window {
        Window { sent: Mutex::default(), ended: AtomicBool::new(false), room: Semaphore::new(BYTES_IN_FLIGHT_MAX) }
    }

    async fn enter(&self, bytes: usize) {
        let bytes = bytes.min(BYTES_IN_FLIGHT_MAX);
        let permits = u32::try_from(bytes).expect("the bound fits");
        self.room.acquire_many(permits).await.expect("the window is never closed").forget();
        self.sent().push_back(Sent { bytes, at: Instant::now() });
    }

    /// Takes the oldest out; `false` when none was in flight.
    fn leave(&self) -> bool {
        let oldest = self.sent().pop_front();
        self.room.add_permits(oldest.as_ref().map_or(0, |sent| sent.bytes));
        oldest.is_some()
    }

    fn oldest(&self) -> Option<Instant> {
        self.sent().front().map(|sent| sent.at)
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether every answer is there and no other will come.
    fn is_done(&self) -> bool {
        self.ended.load(Ordering::Acquire) && self.oldest().is_none()
    }

    fn sent(&self) -> MutexGuard<'_, VecDeque<Sent>> {
        self.sent.lock().expect("no holder of this lock panics")
    }
}

/// Takes what a follower tells of itself.
pub(crate) type Hear = Box<dyn FnOnce(Report) + Send>;

/// Sends `first` and everything that follows in `input`; yields the answers in order. `hear` gets what the first of them
/// tells of the follower, before that answer counts; later ones are left to the heartbeats.
pub(crate) fn run<S>(
    stream: TcpStream,
    first: AppendEntriesRequest<TypeConfig>,
    input: S,
    planted: planted::Answers,
    hear: Hear,
) -> impl Stream<Item = Answer> + Send
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    let (read, write) = stream.into_split();
    let window = Arc::new(Window::new());
    let (stop, stopped) = oneshot::channel();
    let writing = write_all(write, first, input, window.clone(), planted.clone());
    drop(TypeConfig::spawn(async move {
        // Dropping the writing half tells the follower that no more comes.
        tokio::select! { result = writing => result, _ = stopped => Ok(()) }
    }));
    let buffer = BytesMut::with_capacity(16 << 10);
    let answers = Answers { read, buffer, window, planted, hear: Some(hear), _stop: stop };
    futures::stream::unfold(Some(answers), |answers| async move {
        let mut answers = answers?;
        match answers.next().await {
            Ok(Some(answer)) => Some((Ok(answer), Some(answers))),
            Ok(None) => None,
            Err(error) => Some((Err(RPCError::Network(NetworkError::new(&error))), None)),
        }
    })
}

async fn write_all<S>(
    mut write: OwnedWriteHalf,
    first: AppendEntriesRequest<TypeConfig>,
    input: S,
    window: Arc<Window>,
    planted: planted::Answers,
) -> io::Result<()>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin,
{
    let mut input = input.fuse();
    let mut next = Some(first);
    while let Some(mut request) = next {
        let until = Instant::now() + COMMIT_LINGER;
        while request.entries.is_empty()
            && let Ok(Some(following)) = tokio::time::timeout_at(until, input.next()).await
        {
            request = following;
        }
        planted.sending(&mut request);
        let pieces = encode_request(request);
        window.enter(pieces.iter().map(Bytes::len).sum()).await;
        write_pieces(&mut write, pieces).await?;
        next = input.next().await;
    }
    window.end();
    write.shutdown().await
}

struct Answers {
    read: OwnedReadHalf,
    buffer: BytesMut,
    window: Arc<Window>,
    planted: planted::Answers,
    hear: Option<Hear>,
    /// Ends the writer when the output is dropped: a `JoinHandle` alone would let it run on.
    _stop: oneshot::Sender<()>,
}

impl Answers {
    /// The next answer; `None` when the follower has answered everything and closed.
    async fn next(&mut self) -> io::Result<Option<StreamAppendResult<TypeConfig>>> {
        loop {
            if let Some(answer) = self.planted.stand_in() {
                self.window.leave();
                return Ok(Some(answer));
            }
            if let Some(bytes) = self.buffer.first_chunk::<ANSWER_BYTES>() {
                let answer = decode_answer(bytes).map_err(io::Error::other)?;
                if let Some(hear) = self.hear.take() {
                    hear(report_of_answer(bytes));
                }
                self.buffer.advance(ANSWER_BYTES);
                if self.planted.swallows(&answer) {
                    continue;
                }
                if !self.window.leave() {
                    return Err(io::Error::other("an answer to no request"));
                }
                return Ok(Some(answer));
            }
            match tokio::time::timeout(CHECK_INTERVAL, self.read.read_buf(&mut self.buffer)).await {
                Ok(Ok(0)) => return self.end(),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) if self.window.is_done() => return Ok(None),
                Err(_) => self.check_oldest()?,
            }
        }
    }

    fn end(&self) -> io::Result<Option<StreamAppendResult<TypeConfig>>> {
        match self.window.oldest() {
            None => Ok(None),
            Some(_) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed with requests in flight")),
        }
    }

    fn check_oldest(&self) -> io::Result<()> {
        match self.window.oldest() {
            Some(at) if at.elapsed() >= ANSWER_TIMEOUT => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "a request stayed unanswered"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[cfg(not(tercet_sim))]
#[path = "pipeline_tests.rs"]
mod tests;
