//! The peer port: accepts connections, checks who calls, and hands requests to openraft.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use openraft::raft::{StreamAppendError, TransferLeaderError};
use openraft::type_config::TypeConfigExt;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use crate::exec;
use crate::identity::ClaimError;
use crate::planted::{self, Bug};
use crate::raft::bootstrap;
use crate::raft::core::RaftCore;
use crate::raft::early_campaign::Evidence;
use crate::raft::network::appends;
use crate::raft::network::greeting::{HELLO_TIMEOUT, hear};
use crate::raft::network::net::{self, TcpListener, TcpStream};
use crate::raft::network::peers::{Peers, Question};
use crate::raft::network::places::{ACCEPT_PAUSE, Place, Places};
use crate::raft::network::ranges::{self, Ranges};
use crate::raft::network::receive::Receiving;
use crate::raft::network::socket::{FrameReader, within, write_frame};
use crate::raft::type_config::TypeConfig;
#[cfg(tercet_sim)]
use crate::raft::type_config::hard_state;
use crate::raft::vote_gate::{self, VoteGate};
use crate::raft::votes::Votes;
use crate::raft::wire::append::{ANSWER_BYTES, encode_answer};
use crate::raft::wire::bootstrap::{BootstrapAnswer, BootstrapRequest, ClaimOutcome, NodeState};
use crate::raft::wire::call::{CallAnswer, CallRequest};
use crate::raft::wire::handshake::{Purpose, Refusal};
use crate::types::NodeId;

/// Who takes no answer for this long is gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections for calls are kept for the next election, but not for ever.
const CALL_IDLE_MAX: Duration = Duration::from_secs(600);
/// A bootstrap asks and claims within moments.
const BOOTSTRAP_IDLE_MAX: Duration = Duration::from_secs(30);
/// Answers written at once.
const ANSWERS_MAX: usize = 256;

/// Serves peers until `stop`; connections end with it.
pub(crate) async fn serve(listener: TcpListener, connections: Connection, stop: CancellationToken) {
    let places = Places::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, caller) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the peer port could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let mut place = places.greet();
        let connection = connections.clone();
        let stop = stop.clone();
        drop(TypeConfig::spawn(async move {
            let given = place.given.clone();
            let result = tokio::select! {
                () = stop.cancelled() => return,
                () = given.cancelled() => Err(io::Error::other("another connection has taken its place")),
                result = connection.run(stream, &mut place) => result,
            };
            if let Err(error) = result {
                tracing::debug!(%caller, %error, "a peer connection ended");
            }
        }));
    }
}

/// What every connection is served from.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) peers: Arc<Peers>,
    pub(crate) raft: RaftCore,
    pub(crate) gate: VoteGate,
    pub(crate) votes: Arc<Votes>,
    pub(crate) evidence: Evidence,
    pub(crate) receiving: Arc<Receiving>,
    pub(crate) ranges: Arc<dyn Ranges>,
    /// A node that has sent nothing at all for this long does not lead this one.
    pub(crate) silence_max: Duration,
}

impl Connection {
    async fn run(&self, mut stream: TcpStream, place: &mut Place) -> io::Result<()> {
        net::guard(&stream)?;
        let Question { nonce, asked } = self.peers.question();
        let caller = within(HELLO_TIMEOUT, async {
            hear(&mut stream, self.peers.key(), &nonce).await.map_err(io::Error::other)
        })
        .await?;
        let hello = &caller.hello;
        let welcome = if place.is_for(hello.from.node, hello.purpose) {
            self.peers.answer(hello, asked).await
        } else {
            self.peers.welcome(Some(Refusal::Busy), hello.from.node)
        };
        within(HELLO_TIMEOUT, caller.welcome(&mut stream, &welcome)).await?;
        if let Some(refusal) = welcome.refusal {
            return Err(io::Error::other(format!("refused {}: {refusal}", hello.from)));
        }
        place.seat(hello.from.node, hello.purpose);
        match hello.purpose {
            Purpose::Append | Purpose::Heartbeat => self.serve_appends(stream, hello.from.node).await,
            Purpose::Call => self.serve_calls(stream).await,
            Purpose::Bootstrap => self.serve_bootstrap(stream).await,
            Purpose::Checkpoint => self.receiving.serve(stream, &self.raft).await,
            Purpose::Repair => ranges::answer(stream, self.ranges.clone()).await,
        }
    }

    async fn serve_appends(&self, stream: TcpStream, from: NodeId) -> io::Result<()> {
        let leader = self.evidence.watch.opened(from);
        let (read, mut write) = stream.into_split();
        let (watch, handover) = (self.evidence.watch.clone(), self.receiving.worker.handover().clone());
        let peers = self.peers.clone();
        // An impossible term ends the connection.
        let requests = appends::requests(read, watch, handover, from, self.silence_max).take_while(move |request| {
            let checked = peers.check_term(&request.vote);
            let checked = checked.inspect_err(|error| tracing::warn!(%from, %error, "an append is refused"));
            std::future::ready(checked.is_ok())
        });
        let mut answers = Box::pin(self.raft.stream_append(requests)).ready_chunks(ANSWERS_MAX);
        while let Some(ready) = answers.next().await {
            let mut bytes = Vec::with_capacity(ready.len() * ANSWER_BYTES);
            for answer in ready {
                let answer = answer.map_err(io::Error::other)?;
                // A request of an earlier leader is refused by its vote, and is no sign of life of this one.
                if !matches!(answer, Err(StreamAppendError::HigherVote(_))) {
                    leader.heard();
                }
                bytes.extend_from_slice(&encode_answer(&answer, self.peers.report()));
            }
            within(ANSWER_TIMEOUT, write.write_all(&bytes)).await?;
        }
        Ok(())
    }

    async fn serve_calls(&self, mut stream: TcpStream) -> io::Result<()> {
        let (read, mut write) = stream.split();
        let mut frames = FrameReader::new(read);
        while let Some(frame) = within(CALL_IDLE_MAX, frames.next()).await? {
            let request = CallRequest::decode(&frame).map_err(io::Error::other)?;
            self.peers.check_term(request.vote())?;
            let answer = self.answer_call(request).await?.encode();
            within(ANSWER_TIMEOUT, write_frame(&mut write, &answer)).await?;
        }
        Ok(())
    }

    async fn answer_call(&self, mut request: CallRequest) -> io::Result<CallAnswer> {
        if planted::is(Bug::VoteForShorterLog)
            && let CallRequest::Vote(asked) | CallRequest::PreVote(asked) = &mut request
        {
            let own = self.raft.with_raft_state(|state| state.log_ids.last().copied());
            asked.last_log_id = asked.last_log_id.max(own.await.map_err(io::Error::other)?);
        }
        match request {
            CallRequest::Vote(request) | CallRequest::PreVote(request) if !self.gate.may_grant() => {
                vote_gate::refuse(&self.raft, &request).await
            }
            CallRequest::Transfer(request) if !self.gate.may_lead() && *request.to_node_id() == self.own_id() => {
                tracing::warn!("leadership is not taken over: this node keeps out of elections");
                let last_log_id = request.last_log_id().copied();
                Ok(CallAnswer { vote: *request.from_leader(), last_log_id, granted: false })
            }
            CallRequest::Vote(request) => {
                #[cfg(tercet_sim)]
                let asked = hard_state(&request.vote);
                let answer: CallAnswer = self.raft.vote(request).await.map_err(io::Error::other)?.into();
                #[cfg(tercet_sim)]
                if answer.granted {
                    crate::sim::observe::observe(crate::sim::observe::Deed::Granted(asked));
                }
                Ok(answer)
            }
            CallRequest::PreVote(request) => {
                let missed = self.evidence.pre_vote(&self.raft, &request).await?;
                let misses_leader = missed.is_some();
                let mut answer: CallAnswer = match missed {
                    Some(answer) => answer.into(),
                    None => self.raft.pre_vote(request.clone()).await.map_err(io::Error::other)?.into(),
                };
                if answer.granted {
                    let prepared = self.votes.prepare(&request)?;
                    answer.granted = prepared.is_some();
                    if let Some(saved) = prepared {
                        if misses_leader {
                            self.evidence.give_way();
                        }
                        saved.await?;
                    }
                }
                Ok(answer)
            }
            CallRequest::Leads(vote) => {
                let standing = self.raft.with_raft_state(|state| (*state.vote_ref(), state.server_state.is_leader()));
                let (known, leads) = standing.await.map_err(io::Error::other)?;
                Ok(CallAnswer { vote: known, last_log_id: None, granted: leads && known >= vote })
            }
            CallRequest::Transfer(request) => {
                let (vote, last_log_id) = (*request.from_leader(), request.last_log_id().copied());
                let taken = self.raft.handle_transfer_leader(request).await.map_err(io::Error::other)?;
                Ok(match taken {
                    Ok(()) => CallAnswer { vote, last_log_id, granted: true },
                    Err(TransferLeaderError::VoteChanged { actual, .. }) => {
                        CallAnswer { vote: actual, last_log_id, granted: false }
                    }
                    Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
                        CallAnswer { vote, last_log_id: actual, granted: false }
                    }
                })
            }
        }
    }

    fn own_id(&self) -> NodeId {
        self.peers.identity.node_id
    }

    async fn serve_bootstrap(&self, mut stream: TcpStream) -> io::Result<()> {
        let (read, mut write) = stream.split();
        let mut frames = FrameReader::new(read);
        while let Some(frame) = within(BOOTSTRAP_IDLE_MAX, frames.next()).await? {
            let request = BootstrapRequest::decode(&frame).map_err(io::Error::other)?;
            let answer = self.answer_bootstrap(request).await?.encode();
            within(ANSWER_TIMEOUT, write_frame(&mut write, &answer)).await?;
        }
        Ok(())
    }

    async fn answer_bootstrap(&self, request: BootstrapRequest) -> io::Result<BootstrapAnswer> {
        let identity = self.peers.identity.clone();
        let claim = match request {
            BootstrapRequest::Ask => {
                let advertised = self.peers.advertised.clone();
                let state = NodeState { empty: !identity.is_used(), claim: identity.claim(), advertised };
                return Ok(BootstrapAnswer::State(state));
            }
            BootstrapRequest::Reach { node, addresses } => {
                return Ok(BootstrapAnswer::Reached(bootstrap::reach(&self.peers, node, &addresses).await));
            }
            BootstrapRequest::Claim(claim) => claim,
        };
        let claimed = exec::blocking(move || identity.set_claim(claim)).await?;
        Ok(BootstrapAnswer::Claimed(match claimed {
            Ok(()) => {
                self.peers.note_claimed();
                ClaimOutcome::Done
            }
            Err(ClaimError::Claimed(cluster)) => ClaimOutcome::Claimed(cluster),
            Err(ClaimError::Used) => ClaimOutcome::Used,
            Err(ClaimError::Write(error)) => {
                tracing::error!(%error, "the claim of a bootstrap could not be written");
                ClaimOutcome::Failed
            }
        }))
    }
}
