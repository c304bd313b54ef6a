//! One node's link to another, as openraft asks for it.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::alias::SnapshotOf;
use openraft::base::{BoxFuture, BoxStream};
use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::checkpoint::Checkpoint;
use crate::env::Env;
use crate::membership::MemberNode;
use crate::planted;
use crate::raft::network::calls::{Calls, exchange};
use crate::raft::network::checked::Checked;
use crate::raft::network::kept::Kept;
use crate::raft::network::leader_watch::Found;
use crate::raft::network::net::TcpStream;
use crate::raft::network::peers::{ConnectError, Peers};
use crate::raft::network::pipeline::{self, Answer};
use crate::raft::network::socket::FrameReader;
use crate::raft::network::transfer;
use crate::raft::pace::Pace;
use crate::raft::retention::CatchUps;
use crate::raft::type_config::{RaftVote, TypeConfig, raft_log_id};
use crate::raft::vote_gate::VoteGate;
use crate::raft::votes::Votes;
use crate::raft::wire::call::{CallAnswer, CallRequest};
use crate::raft::wire::handshake::{Purpose, Refusal};
use crate::storage::Log;
use crate::types::{LogId, LogIndex, NodeId};

/// Makes the links of one node.
#[derive(Clone)]
pub(crate) struct LinkFactory {
    peers: Arc<Peers>,
    calls: Arc<Calls>,
    gate: VoteGate,
    sending: Arc<Sending>,
}

/// What sending to followers takes, checkpoints above all.
pub(crate) struct Sending {
    pub(crate) env: Env,
    pub(crate) log: Log,
    pub(crate) pace: Pace,
    pub(crate) catch_ups: Arc<CatchUps>,
}

impl LinkFactory {
    pub(crate) fn new(peers: Arc<Peers>, gate: VoteGate, votes: Arc<Votes>, sending: Arc<Sending>) -> LinkFactory {
        LinkFactory { calls: Arc::new(Calls::new(peers.clone(), votes)), peers, gate, sending }
    }

    fn link(&self, target: NodeId, node: &MemberNode, single: bool) -> PeerLink {
        PeerLink {
            peers: self.peers.clone(),
            calls: self.calls.clone(),
            gate: self.gate.clone(),
            sending: self.sending.clone(),
            target,
            node: node.clone(),
            single,
            kept: None,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for LinkFactory {
    type Network = PeerLink;

    async fn new_client(&mut self, target: NodeId, node: &MemberNode) -> PeerLink {
        self.link(target, node, false)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &MemberNode) -> PeerLink {
        self.link(target, node, true)
    }
}

/// A link to one peer. Connects when there is something to say, anew after each failure.
pub(crate) struct PeerLink {
    peers: Arc<Peers>,
    calls: Arc<Calls>,
    gate: VoteGate,
    sending: Arc<Sending>,
    target: NodeId,
    node: MemberNode,
    /// Heartbeats: one request at a time on a kept connection, instead of a pipeline.
    single: bool,
    kept: Option<Kept>,
}

fn unreachable(error: &(impl std::error::Error + 'static)) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(error))
}

fn broken(error: &(impl std::error::Error + 'static)) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(error))
}

/// Whether a request carries nothing because what follows its place is purged here.
fn asks_in_vain(purged: Option<LogId>, request: &AppendEntriesRequest<TypeConfig>) -> bool {
    let before = request.prev_log_id.as_ref().map(|id| id.index);
    request.entries.is_empty() && purged.is_some_and(|purged| before < Some(purged.index.0))
}

/// What comes after `first`, up to the first request that asks in vain. openraft has sent the follower a checkpoint then, or is
/// about to, and what it orders behind that waits for this stream, which would ask for ever.
fn until_in_vain<P, S>(
    purged: P,
    first: &AppendEntriesRequest<TypeConfig>,
    input: S,
) -> impl Stream<Item = S::Item> + use<P, S>
where
    P: Fn() -> Option<LogId>,
    S: Stream<Item = AppendEntriesRequest<TypeConfig>>,
{
    input.scan(asks_in_vain(purged(), first), move |ended, request| {
        let passes = !*ended;
        *ended |= asks_in_vain(purged(), &request);
        futures::future::ready(passes.then_some(request))
    })
}

impl PeerLink {
    /// No vote is asked for while this node keeps out of elections, whatever started the campaign.
    fn check_gate(&self) -> io::Result<()> {
        if self.gate.may_lead() { Ok(()) } else { Err(io::Error::other("this node keeps out of elections")) }
    }

    async fn connect(&self, purpose: Purpose) -> Result<TcpStream, RPCError<TypeConfig>> {
        self.peers.connect(self.target, &self.node, purpose).await.map_err(|error| unreachable(&error))
    }

    /// One request on the kept connection, and an answer.
    async fn append_once(
        &mut self,
        mut request: AppendEntriesRequest<TypeConfig>,
        option: &RPCOption,
    ) -> Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>> {
        planted::Answers::new(&self.peers, self.target, &self.sending.log).raise(&mut request);
        // openraft gives a heartbeat the time until the next one.
        let open = || Kept::open(self.peers.clone(), self.target, self.node.clone(), option.hard_ttl());
        let answer = self.kept.get_or_insert_with(open).exchange(request, option.soft_ttl()).await;
        answer.map_err(|error| broken(&error))
    }

    /// Sends the checkpoint at the purge point. Purging waits until the follower has caught up (hazards 25).
    async fn send_checkpoint(
        &self,
        vote: RaftVote,
        checkpoint: &Arc<Checkpoint>,
    ) -> Result<RaftVote, RPCError<TypeConfig>> {
        let Sending { env, log, pace, catch_ups } = &*self.sending;
        if let Some(purged) = log.bounds().purged
            && (checkpoint.id() != purged || checkpoint.is_damaged())
        {
            catch_ups.lacks_checkpoint();
            let reason = format!(
                "the checkpoint at the purge point {purged} is lost or damaged; another one takes its place when nothing below \
                 it is needed any more, else leadership goes to another node, which has its own, so that node {} gets all \
                 retained entries",
                self.target
            );
            tracing::error!(reason, "a follower cannot be brought up");
            return Err(unreachable(&io::Error::other(reason)));
        }
        let stream = self.connect(Purpose::Checkpoint).await?;
        catch_ups.transferring(self.target, checkpoint.id());
        if log.bounds().purged > Some(checkpoint.id()) {
            // While the connection came up. What follows this one is gone; purging waits from now on, for the next one.
            return Err(unreachable(&io::Error::other("a newer checkpoint takes its place")));
        }
        let asked = vote;
        let sent = transfer::send(stream, env, pace, vote, checkpoint, || catch_ups.moved(self.target)).await;
        let vote = sent.map_err(|error| {
            tracing::warn!(peer = %self.target, id = %checkpoint.id(), %error, "a transfer stopped; it goes on where it was");
            unreachable(&error)
        })?;
        self.peers.check_term(&vote).map_err(|error| broken(&error))?;
        let held = self.peers.confirmed.note(self.target, asked, Some(&raft_log_id(checkpoint.id())));
        self.peers.pasts.sightings.note_held(self.target, held);
        catch_ups.installed(self.target, log.bounds().last.map_or(LogIndex(0), |last| last.index));
        Ok(vote)
    }

    async fn call(&self, request: CallRequest, limit: Duration) -> Result<CallAnswer, RPCError<TypeConfig>> {
        self.calls.call(self.target, &self.node, request, limit).await.map_err(|error| unreachable(&error))
    }
}

impl PeerLink {
    /// Looks whether the peer leads under this vote, or a later one. `None`: the connection broke off, and to look again may help.
    pub(crate) async fn leads(&self, vote: RaftVote, limit: Duration) -> Option<Found> {
        let looking = async {
            let stream = match self.peers.connect(self.target, &self.node, Purpose::Call).await {
                Ok(stream) => stream,
                Err(error) => return found_of(&error),
            };
            match exchange(&mut FrameReader::new(stream), &CallRequest::Leads(vote)).await {
                Ok(answer) if answer.granted => Some(Found::Leads),
                Ok(_) => Some(Found::Gone),
                Err(_) => None,
            }
        };
        tokio::time::timeout(limit, looking).await.unwrap_or(Some(Found::Unknown))
    }
}

/// What a connection that was not made says of the leader at the other end.
fn found_of(error: &ConnectError) -> Option<Found> {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, TimedOut};
    match error {
        ConnectError::Io { source, .. } => match source.kind() {
            ConnectionRefused | HostUnreachable => Some(Found::Gone),
            TimedOut => Some(Found::Unknown),
            _ => None,
        },
        // Another life of its process, which leads nobody.
        ConnectError::Refused { refusal: Refusal::Repairing | Refusal::NoCluster | Refusal::Incarnation, .. } => {
            Some(Found::Gone)
        }
        ConnectError::Refused { .. } | ConnectError::Greet { .. } => Some(Found::Unknown),
    }
}

impl RaftNetworkV2<TypeConfig> for PeerLink {
    type SnapshotData = Arc<Checkpoint>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.append_once(request, &option).await?;
        Ok(match answer {
            Ok(matched) => AppendEntriesResponse::PartialSuccess(matched),
            Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Answer>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // Pulled before connecting: openraft waits out its back-off in here.
            let Some(first) = input.next().await else {
                return Ok(Box::pin(futures::stream::empty()) as BoxStream<'s, Answer>);
            };
            if self.single {
                let answer = self.append_once(first, &option).await;
                return Ok(Box::pin(futures::stream::iter([answer])) as BoxStream<'s, Answer>);
            }
            let checked = Checked::new(&self.peers, self.target, first.vote);
            let stream = self.connect(Purpose::Append).await?;
            let planted = planted::Answers::new(&self.peers, self.target, &self.sending.log);
            // A new leader knows the clocks of a majority before anything of its term is committed (hazards 19).
            let (peers, target) = (self.peers.clone(), self.target);
            let hear = Box::new(move |report| peers.heard(target, report));
            checked.sending(&first);
            let sending = checked.clone();
            let log = self.sending.log.clone();
            let input = input.inspect(move |request| sending.sending(request));
            let input = until_in_vain(move || log.bounds().purged, &first, input);
            let answers = pipeline::run(stream, first, input, planted, hear).then(move |answer| {
                let checked = checked.clone();
                async move { checked.answer(answer?).await }
            });
            Ok(Box::pin(answers) as BoxStream<'s, Answer>)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.check_gate().map_err(|error| unreachable(&error))?;
        Ok(self.call(CallRequest::Vote(request), option.hard_ttl()).await?.into())
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.check_gate().map_err(|error| unreachable(&error))?;
        Ok(self.call(CallRequest::PreVote(request), option.hard_ttl()).await?.into())
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: SnapshotOf<TypeConfig, Arc<Checkpoint>>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_checkpoint(vote, &snapshot.snapshot) => Ok(SnapshotResponse::new(sent?)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let expected = (*request.from_leader(), request.last_log_id().copied());
        let answer = self.call(CallRequest::Transfer(request), option.soft_ttl()).await?;
        Ok(if answer.granted {
            Ok(())
        } else if answer.vote != expected.0 {
            Err(TransferLeaderError::VoteChanged { expected: expected.0, actual: answer.vote })
        } else {
            Err(TransferLeaderError::LogNotFlushed { expected: expected.1, actual: answer.last_log_id })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::FutureExt as _;
    use openraft::entry::RaftEntry as _;

    use super::*;
    use crate::raft::network::greeting::GreetError;
    use crate::raft::type_config::{RaftEntry, raft_vote};
    use crate::storage::HardState;
    use crate::types::Term;

    fn request(before: u64, entries: usize) -> AppendEntriesRequest<TypeConfig> {
        let id = |index| raft_log_id(LogId { term: Term(1), index: LogIndex(index) });
        let entries = (1..=entries as u64).map(|step| RaftEntry::new_blank(id(before + step))).collect();
        AppendEntriesRequest {
            vote: raft_vote(HardState { term: Term(1), voted_for: Some(NodeId(1)), committed: true }),
            prev_log_id: Some(id(before)),
            entries,
            leader_commit: None,
        }
    }

    /// How many of these requests a stream carries whose leader purged up to 10 when it had sent `purged_after`.
    fn carried(requests: &[(u64, usize)], purged_after: usize) -> usize {
        let sent = Cell::new(1);
        let purged = || (sent.get() > purged_after).then_some(LogId { term: Term(1), index: LogIndex(10) });
        let (first, rest) = requests.split_first().unwrap();
        let rest = futures::stream::iter(rest).map(|(before, entries)| {
            sent.set(sent.get() + 1);
            request(*before, *entries)
        });
        1 + until_in_vain(purged, &request(first.0, first.1), rest).count().now_or_never().unwrap()
    }

    // Its follower would otherwise get nothing behind the checkpoint (seed 8209 of the simulation).
    #[test]
    fn a_stream_that_asks_for_what_is_purged_ends_after_that_request() {
        let asks = [(4, 0), (4, 0), (4, 0), (4, 0)];
        assert_eq!(carried(&asks, 0), 1, "the first request asks already");
        assert_eq!(carried(&asks, 2), 3, "purged while the stream goes");
        assert_eq!(carried(&asks, 9), 4, "what follows is here still");
        assert_eq!(carried(&[(10, 0), (10, 0), (10, 0)], 0), 3, "a heartbeat at the purge point");
        assert_eq!(carried(&[(9, 2), (11, 1), (12, 1)], 0), 3, "read before it was purged");
    }

    // A process that dies resets the connections that wait at its port; a moment later nobody listens there.
    #[test]
    fn a_greeting_that_breaks_off_is_worth_another_look() {
        let broken = |kind: io::ErrorKind| found_of(&ConnectError::of_greeting("a:1", GreetError::Io(kind.into())));
        for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe] {
            assert_eq!(broken(kind), None, "{kind}");
        }
        assert_eq!(broken(io::ErrorKind::TimedOut), Some(Found::Unknown));
        assert_eq!(found_of(&ConnectError::of_greeting("a:1", GreetError::OtherSecret)), Some(Found::Unknown));
        let refused = io::ErrorKind::ConnectionRefused.into();
        assert_eq!(found_of(&ConnectError::Io { address: "a:1".to_owned(), source: refused }), Some(Found::Gone));
    }
}
