//! Calls to peers: votes, pre-votes, transfers.
//!
//! ```text
//!   caller ─► task: an idle connection, or a new one ─► request ─► answer ─► the caller, if it still waits
//!                                                                    └─► the connection is idle again
//! ```
//! openraft gives a call the shortest election timeout. On a link with long round trips a connection alone takes longer to
//! come up, so it is not made anew for each call, and not lost with the call that asked for it: the task goes on, and the
//! next round finds the connection there. One that was closed meanwhile is noticed by its first call, which then takes
//! another.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use openraft::type_config::TypeConfigExt;
use tokio::sync::oneshot;

use crate::membership::MemberNode;
use crate::raft::network::net::TcpStream;
use crate::raft::network::peers::{ConnectError, Peers};
use crate::raft::network::socket::{FrameReader, write_frame};
use crate::raft::type_config::TypeConfig;
use crate::raft::votes::Votes;
use crate::raft::wire::call::{CallAnswer, CallRequest};
use crate::raft::wire::handshake::Purpose;
use crate::types::NodeId;

/// Idle connections that are kept for one peer.
const IDLE_MAX: usize = 2;
/// A call that nobody waits for any more goes on for so long, since its connection may serve the next.
const CALL_MAX: Duration = Duration::from_secs(3);

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A connection for calls.
type Line = FrameReader<TcpStream>;

/// The connections for calls to all peers.
pub(crate) struct Calls {
    peers: Arc<Peers>,
    votes: Arc<Votes>,
    idle: Mutex<BTreeMap<NodeId, Vec<Line>>>,
}

impl Calls {
    pub(crate) fn new(peers: Arc<Peers>, votes: Arc<Votes>) -> Calls {
        Calls { peers, votes, idle: Mutex::default() }
    }

    /// Calls `target`.
    ///
    /// # Errors
    /// When there is no answer within `limit`.
    pub(crate) async fn call(
        self: &Arc<Calls>,
        target: NodeId,
        node: &MemberNode,
        request: CallRequest,
        limit: Duration,
    ) -> Result<CallAnswer, CallError> {
        if let CallRequest::PreVote(asked) = &request {
            self.votes.stand(asked);
        }
        let (answered, answer) = oneshot::channel();
        let (calls, node) = (self.clone(), node.clone());
        drop(TypeConfig::spawn(async move {
            let attempt = calls.attempt(target, &node, &request, &answered);
            let result = tokio::time::timeout(CALL_MAX, attempt).await.unwrap_or_else(|_| Err(late(CALL_MAX)));
            if let (CallRequest::PreVote(asked), Ok(CallAnswer { granted: true, .. })) = (&request, &result) {
                // Somebody would elect this node, so its own vote comes next, and then heartbeats. Not waited for: openraft does
                // that itself. Nothing is saved where another is preferred.
                let (peers, node) = (calls.peers.clone(), node.clone());
                calls
                    .peers
                    .warm
                    .begin(target, async move { peers.connect(target, &node, Purpose::Heartbeat).await.ok() });
                drop(calls.votes.prepare(asked));
            }
            // Nobody may wait for it any more.
            drop(answered.send(result));
        }));
        let answer = tokio::time::timeout(limit, answer).await.map_err(|_| late(limit))?;
        let answer = answer.unwrap_or_else(|_| Err(io::Error::other("the node stops").into()))?;
        self.peers.check_term(&answer.vote)?;
        Ok(answer)
    }

    async fn attempt(
        &self,
        target: NodeId,
        node: &MemberNode,
        request: &CallRequest,
        answered: &oneshot::Sender<Result<CallAnswer, CallError>>,
    ) -> Result<CallAnswer, CallError> {
        while let Some(mut line) = self.take(target) {
            if let Ok(answer) = exchange(&mut line, request).await {
                self.keep(target, line);
                return Ok(answer);
            }
        }
        let mut line = FrameReader::new(self.peers.connect(target, node, Purpose::Call).await?);
        if answered.is_closed() {
            // A vote that is asked for too late would only stand in the way of the next.
            self.keep(target, line);
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        let answer = exchange(&mut line, request).await?;
        self.keep(target, line);
        Ok(answer)
    }

    fn take(&self, target: NodeId) -> Option<Line> {
        self.idle().get_mut(&target)?.pop()
    }

    fn keep(&self, target: NodeId, line: Line) {
        let mut idle = self.idle();
        let lines = idle.entry(target).or_default();
        lines.push(line);
        if lines.len() > IDLE_MAX {
            lines.remove(0);
        }
    }

    fn idle(&self) -> MutexGuard<'_, BTreeMap<NodeId, Vec<Line>>> {
        self.idle.lock().expect("no holder of this lock panics")
    }
}

fn late(limit: Duration) -> CallError {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}")).into()
}

/// One request and its answer.
pub(crate) async fn exchange(line: &mut FrameReader<TcpStream>, request: &CallRequest) -> io::Result<CallAnswer> {
    write_frame(line.stream(), &request.encode()).await?;
    let body = line.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    CallAnswer::decode(&body).map_err(io::Error::other)
}
