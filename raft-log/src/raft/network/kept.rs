//! A leader's heartbeats to one follower: a kept connection, and the task that keeps it.
//!
//! ```text
//!   openraft's attempt ─► the newest request ─► task: connect ─► write ─► ... ─► answer ─► the attempt, if it still waits
//!                                                 ▲ the connection is lost: again, at once        └──► Confirmations
//! ```
//! openraft gives an attempt one heartbeat interval. A connection that takes longer to come up, and an answer that takes
//! longer to come back, are not lost with it: both belong to the task. So
//! - a link whose round trips are longer than the interval gets its connection, and keeps it;
//! - what was sent stays owed, in order, and each answer is matched with its own request (hazards 33);
//! - an attempt whose own answer is not there in time ends with the newest one that came meanwhile: the follower follows
//!   this leader, which is all that a heartbeat asks. Reads do not go by it, see [`Confirmations`];
//! - the connection's end is noticed when it comes, not with the next heartbeat: a follower takes a leader without
//!   connections for dead (see [`super::leader_watch`]).

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};
use openraft::type_config::TypeConfigExt;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::membership::MemberNode;
use crate::raft::network::checked::Checked;
use crate::raft::network::confirmations::{Confirmations, Moment};
use crate::raft::network::net::TcpStream;
use crate::raft::network::peers::Peers;
use crate::raft::network::socket::write_pieces;
use crate::raft::type_config::{RaftVote, TypeConfig};
use crate::raft::wire::append::{ANSWER_BYTES, decode_answer, encode_request, report_of_answer};
use crate::raft::wire::handshake::Purpose;
use crate::types::NodeId;

/// A follower that owes an answer for this long hangs; the connection is made anew.
const OWED_MAX: Duration = Duration::from_secs(2);

/// So many answers in a row that come later than the next heartbeat leaves are worth a warning ...
const LATE_ANSWERS: u32 = 20;
/// ... this often.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// Requests are numbered from 1.
type Number = u64;

/// The request to be sent next, unless a newer one replaces it.
type Newest = Option<(Number, Arc<AppendEntriesRequest<TypeConfig>>)>;

/// What became of the requests.
#[derive(Default)]
struct Outcome {
    /// The newest answer, and which request it answers.
    answer: Option<(Number, StreamAppendResult<TypeConfig>)>,
    /// Why there is no connection.
    trouble: Option<String>,
}

/// The attempts' end of the connection; the task ends when it is dropped.
pub(crate) struct Kept {
    requests: watch::Sender<Newest>,
    outcome: watch::Receiver<Outcome>,
    sent: Number,
    /// The newest request whose answer an attempt ended with.
    told: Number,
}

impl Kept {
    /// Starts the task; it connects with the first request.
    /// `interval` is that of heartbeats.
    pub(crate) fn open(peers: Arc<Peers>, target: NodeId, node: MemberNode, interval: Duration) -> Kept {
        let (requests, newest) = watch::channel(None);
        let (outcome, watched) = watch::channel(Outcome::default());
        let lateness = Lateness { interval, late: 0, warned: None };
        let keeper = Keeper { peers, target, node, newest, outcome, lateness };
        drop(TypeConfig::spawn(keeper.run()));
        Kept { requests, outcome: watched, sent: 0, told: 0 }
    }

    /// Sends the request, and waits for its answer or until `limit` for any newer than the last; may be dropped.
    ///
    /// # Errors
    /// When there is no answer by then.
    pub(crate) async fn exchange(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        limit: Duration,
    ) -> io::Result<StreamAppendResult<TypeConfig>> {
        self.sent += 1;
        let number = self.sent;
        self.requests.send_replace(Some((number, Arc::new(request))));
        let answered = |outcome: &Outcome| outcome.answer.as_ref().is_some_and(|(of, _)| *of >= number);
        let in_time = tokio::time::timeout(limit, self.outcome.wait_for(answered)).await;
        if matches!(in_time, Ok(Err(_))) {
            return Err(io::Error::other("the task of this connection ended"));
        }
        drop(in_time);
        let outcome = self.outcome.borrow();
        match &outcome.answer {
            // An older conflict says nothing about what this request asks.
            Some((of, answer)) if *of >= number || (*of > self.told && !is_conflict(answer)) => {
                self.told = *of;
                Ok(answer.clone())
            }
            _ => {
                let why = outcome.trouble.clone();
                Err(io::Error::new(io::ErrorKind::TimedOut, why.unwrap_or_else(|| "no answer in time".to_owned())))
            }
        }
    }
}

fn is_conflict(answer: &StreamAppendResult<TypeConfig>) -> bool {
    matches!(answer, Err(StreamAppendError::Conflict(_)))
}

/// A request without answer.
struct Owed {
    number: Number,
    vote: RaftVote,
    moment: Moment,
    at: Instant,
}

/// How a connection ended.
enum End {
    /// Nobody sends heartbeats over it any more.
    Done,
    /// It was lost. `again`: it had served, and is worth another at once.
    Lost { again: bool, why: io::Error },
}

/// The task.
struct Keeper {
    peers: Arc<Peers>,
    target: NodeId,
    node: MemberNode,
    newest: watch::Receiver<Newest>,
    outcome: watch::Sender<Outcome>,
    lateness: Lateness,
}

/// Whether answers take longer than heartbeats are apart.
struct Lateness {
    interval: Duration,
    /// Answers in a row that did.
    late: u32,
    warned: Option<Instant>,
}

impl Lateness {
    /// An answer took so long. Says whether that is to be told.
    fn note(&mut self, took: Duration) -> bool {
        self.late = if took > self.interval { self.late + 1 } else { 0 };
        let is_news = self.late >= LATE_ANSWERS && self.warned.is_none_or(|at| at.elapsed() >= WARNING_PAUSE);
        if is_news {
            self.warned = Some(Instant::now());
        }
        is_news
    }
}

impl Keeper {
    async fn run(mut self) {
        let mut at_once = false;
        loop {
            if !at_once && self.newest.changed().await.is_err() {
                return;
            }
            let connecting = async {
                match self.peers.warm.take(self.target).await {
                    Some(stream) => Ok(stream),
                    None => self.peers.connect(self.target, &self.node, Purpose::Heartbeat).await,
                }
            };
            let connected = tokio::select! {
                () = ended(&self.newest) => return,
                connected = connecting => connected,
            };
            let trouble = match connected {
                Ok(stream) => match self.serve(stream).await {
                    End::Done => return,
                    End::Lost { again, why } => {
                        at_once = again;
                        why.to_string()
                    }
                },
                Err(error) => {
                    at_once = false;
                    error.to_string()
                }
            };
            self.outcome.send_modify(|outcome| outcome.trouble = Some(trouble));
        }
    }

    /// Sends the newest request whenever there is one, and takes the answers.
    async fn serve(&mut self, stream: TcpStream) -> End {
        let (mut read, mut write) = stream.into_split();
        let mut buffer = BytesMut::with_capacity(16 * ANSWER_BYTES);
        // One that carried nothing would be lost again at once, and again.
        let (mut owed, mut again) = (VecDeque::<Owed>::new(), false);
        let mut checked: Option<Checked> = None;
        // What was asked for while there was no connection is sent first.
        self.newest.mark_changed();
        loop {
            let hangs_at = owed.front().map_or_else(|| Instant::now() + OWED_MAX, |oldest| oldest.at + OWED_MAX);
            tokio::select! {
                changed = self.newest.changed() => {
                    if changed.is_err() {
                        return End::Done;
                    }
                    let Some((number, request)) = self.newest.borrow_and_update().clone() else { continue };
                    let made = checked.take().filter(|checked| checked.vote() == request.vote);
                    let made = made.unwrap_or_else(|| Checked::new(&self.peers, self.target, request.vote));
                    made.sending(&request);
                    checked = Some(made);
                    let moment = self.confirmations().sending();
                    owed.push_back(Owed { number, vote: request.vote, moment, at: Instant::now() });
                    let pieces = encode_request(AppendEntriesRequest::clone(&request));
                    let written = tokio::time::timeout(OWED_MAX, write_pieces(&mut write, pieces)).await;
                    if let Err(why) = written.unwrap_or_else(|_| Err(hangs())) {
                        return End::Lost { again, why };
                    }
                }
                read = read.read_buf(&mut buffer) => {
                    match read {
                        Ok(0) => return End::Lost { again, why: io::ErrorKind::UnexpectedEof.into() },
                        Ok(_) => {}
                        Err(why) => return End::Lost { again, why },
                    }
                    match self.take_answers(&mut buffer, &mut owed, checked.as_ref()).await {
                        Ok(taken) => again |= taken,
                        // After a refused request the follower closes, and so do we.
                        Err(why) => return End::Lost { again: false, why },
                    }
                }
                () = tokio::time::sleep_until(hangs_at), if !owed.is_empty() => {
                    return End::Lost { again: false, why: hangs() };
                }
            }
        }
    }

    /// Takes the whole answers in `buffer`; says whether there were any.
    async fn take_answers(
        &mut self,
        buffer: &mut BytesMut,
        owed: &mut VecDeque<Owed>,
        checked: Option<&Checked>,
    ) -> io::Result<bool> {
        let mut taken = false;
        while let Some(bytes) = buffer.first_chunk::<ANSWER_BYTES>() {
            let (answer, report) = (decode_answer(bytes).map_err(io::Error::other)?, report_of_answer(bytes));
            buffer.advance(ANSWER_BYTES);
            let request = owed.pop_front().ok_or_else(|| io::Error::other("an answer to no request"))?;
            taken = true;
            let took = request.at.elapsed();
            if self.lateness.note(took) {
                let (peer, interval) = (self.target, self.lateness.interval);
                tracing::warn!(
                    %peer, ?took, ?interval,
                    "answers to heartbeats take longer than heartbeats are apart: by the network, or by the peer's disk. Set \
                     the heartbeat interval above that, and the election timeouts to three and five times as much"
                );
            }
            self.peers.heard(self.target, report);
            let answer = match checked {
                Some(checked) => checked.answer(answer).await.map_err(|error| io::Error::other(error.to_string()))?,
                None => answer,
            };
            let is_refused = matches!(answer, Err(StreamAppendError::HigherVote(_)));
            if !is_refused {
                self.confirmations().confirm(&request.vote, self.target, request.moment);
            }
            let ends = answer.is_err();
            self.outcome.send_replace(Outcome { answer: Some((request.number, answer)), trouble: None });
            if ends {
                return Err(io::Error::other("the follower refused a heartbeat"));
            }
        }
        Ok(taken)
    }

    fn confirmations(&self) -> &Confirmations {
        &self.peers.confirmations
    }
}

/// Waits until nobody sends requests any more.
async fn ended(newest: &watch::Receiver<Newest>) {
    // A clone, because only the task's own notes which request it has seen.
    let mut newest = newest.clone();
    while newest.changed().await.is_ok() {}
}

fn hangs() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the follower takes or answers nothing")
}
