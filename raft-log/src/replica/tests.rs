//! What can only be seen from inside: a bootstrap that ends between claim and first entry, closed gates, and peers that state
//! what no honest one does.

use std::io;
use std::path::Path;
use std::time::Duration;

use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult, VoteRequest};
use tokio::io::AsyncReadExt as _;

use super::*;
use crate::checkpoint::Manifest;
use crate::membership::{Membership, NodeAddresses};
use crate::raft::gate_reason::GateReason;
use crate::raft::network::calls::Calls;
use crate::raft::network::checked::Checked;
use crate::raft::network::greeting::hear;
use crate::raft::network::net::{self, TcpStream};
use crate::raft::network::peers::Peers;
use crate::raft::network::socket::{FrameReader, write_frame, write_pieces};
use crate::raft::sightings::Past;
use crate::raft::type_config::{RaftVote, TypeConfig, raft_membership};
use crate::raft::votes::Votes;
use crate::raft::wire::append::encode_request;
use crate::raft::wire::call::{CallAnswer, CallRequest};
use crate::raft::wire::checkpoint::{CheckpointAnswer, CheckpointRequest};
use crate::raft::wire::handshake::{Hello, Party, Purpose, Refusal};
use crate::state_machine::{AppliedPoint, ApplyEntry, ApplyError, FinishCheckpoint, FinishFlush, FlushNeed};
use crate::types::{GroupId, Incarnation, LogId, Term};

/// Applies nothing but the position.
#[derive(Default)]
struct Positions(Option<AppliedPoint>);

impl StateMachine for Positions {
    fn applied(&self) -> Option<AppliedPoint> {
        self.0.clone()
    }

    fn apply(&mut self, entries: Vec<ApplyEntry>) -> Result<Vec<Bytes>, ApplyError> {
        self.0 = entries.last().map(|entry| AppliedPoint { id: entry.id, membership: None });
        Ok(vec![Bytes::new(); entries.len()])
    }

    fn flush_need(&self) -> FlushNeed {
        FlushNeed::None
    }

    fn begin_flush(&mut self) -> Result<FinishFlush, ApplyError> {
        Ok(Box::new(|| Ok(())))
    }

    fn reset(&mut self) -> Result<(), ApplyError> {
        self.0 = None;
        Ok(())
    }

    fn needed_from(&self) -> LogIndex {
        LogIndex(0)
    }

    fn trim_command(&self, _to: LogIndex) -> Option<Bytes> {
        None
    }

    fn begin_checkpoint(&mut self) -> Result<FinishCheckpoint, ApplyError> {
        Err(ApplyError::new("it makes no checkpoints"))
    }

    fn restore(&mut self, _dir: &Path) -> Result<(), ApplyError> {
        Err(ApplyError::new("it makes no checkpoints"))
    }
}

type Voters = Vec<(NodeId, String)>;

async fn open(dir: &Path, id: NodeId, address: &str) -> Replica {
    let advertised = NodeAddresses { peer: address.to_owned(), ..NodeAddresses::default() };
    let listen = PeerListen::Address(address.parse().unwrap());
    let mut options = ReplicaOptions::new(id, GroupId(1), dir.join(id.to_string()), listen, advertised);
    options.segment_bytes_max = 16 << 20;
    Replica::open(options, Env::real(), Positions::default()).await.unwrap()
}

async fn open_all(dir: &Path, voters: &Voters) -> Vec<Replica> {
    let mut replicas = Vec::new();
    for (id, address) in voters {
        replicas.push(open(dir, *id, address).await);
    }
    replicas
}

/// Three nodes that are claimed and have no first entry.
async fn interrupted(dir: &Path) -> (Voters, ClusterId) {
    // Held until all are known, so that the three differ; then bound again by the replicas, with address reuse.
    let listeners: Vec<_> = (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string());
    let voters: Voters = (1..=3).map(NodeId).zip(addresses).collect();
    drop(listeners);
    let replicas = open_all(dir, &voters).await;
    let inner = &replicas[0].inner;
    let claim = bootstrap::reserve(&inner.peers, &inner.env, voters.clone()).await.unwrap();
    (voters, claim.cluster)
}

// Hazards 27: an interrupted bootstrap is repeated, from any node, and makes the cluster that was claimed.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_bootstrap_is_repeated_with_the_same_cluster_id() {
    let dir = tempfile::tempdir().unwrap();
    let (voters, cluster) = interrupted(dir.path()).await;
    let replicas = open_all(dir.path(), &voters).await;
    assert!(replicas.iter().all(|replica| replica.status().role == Role::Unformed));
    assert_eq!(replicas[1].bootstrap(voters).await, Ok(cluster));
    let mut watch = replicas[1].watch();
    watch.wait_for(|status| status.leader.is_some()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_node_joins_no_other_list_of_voters() {
    let dir = tempfile::tempdir().unwrap();
    let (mut voters, claimed) = interrupted(dir.path()).await;
    let replicas = open_all(dir.path(), &voters).await;
    voters.pop();
    let refused = replicas[0].bootstrap(voters).await;
    assert_eq!(refused, Err(BootstrapError::Claimed { node: NodeId(1), claimed }));
}

async fn serving(replicas: &[Replica]) -> NodeId {
    let watches = replicas.iter().map(|replica| {
        let mut watch = replica.watch();
        Box::pin(async move { watch.wait_for(|status| status.serving).await.unwrap().node_id })
    });
    futures::future::select_all(watches).await.0
}

/// A group of three that is formed, and its first leader.
async fn formed(dir: &Path) -> (Vec<Replica>, NodeId) {
    let (voters, _) = interrupted(dir).await;
    let replicas = open_all(dir, &voters).await;
    replicas[0].bootstrap(voters).await.unwrap();
    let leader = serving(&replicas).await;
    (replicas, leader)
}

// A node that cannot be trusted with an election: its vote counts for nobody, and it leads only once it is let through again.
#[tokio::test(flavor = "multi_thread")]
async fn a_gated_node_neither_votes_nor_campaigns_nor_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let (mut replicas, leader) = formed(dir.path()).await;
    replicas.retain(|replica| replica.status().node_id != leader);
    let gated = &replicas[0].inner.gate;
    gated.close(GateReason::DamagedTail);

    // Two of three are left, and one of them is gated. Absence has no event: long enough for several campaigns.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(replicas.iter().all(|replica| replica.status().leader.is_none()), "{replicas:?}");
    gated.clear(GateReason::DamagedTail);
    let leader = serving(&replicas).await;

    let (leading, following): (Vec<_>, Vec<_>) =
        replicas.iter().partition(|replica| replica.status().node_id == leader);
    following[0].inner.gate.close(GateReason::DamagedTail);
    let refused = leading[0].transfer_leadership(Some(following[0].status().node_id)).await;
    assert!(matches!(refused, Err(TransferError::TimedOut(_))), "{refused:?}");
}

// Rot in what is committed: with it on one of the two that are left, the other is elected all the same (hazards 8, 36).
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_damage_in_committed_entries_grants_votes_and_does_not_lead() {
    let dir = tempfile::tempdir().unwrap();
    let (mut replicas, leader) = formed(dir.path()).await;
    replicas.retain(|replica| replica.status().node_id != leader);
    replicas[0].inner.gate.close(GateReason::Damaged);
    let elected = serving(&replicas).await;
    assert_eq!(elected, replicas[1].status().node_id);
    let refused = replicas[1].transfer_leadership(Some(replicas[0].status().node_id)).await;
    assert!(matches!(refused, Err(TransferError::TimedOut(_))), "{refused:?}");
    assert_ne!(replicas[0].status().leader, Some(replicas[0].status().node_id));
}

// The leader that began the change is gone before the second step; whoever leads then takes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_voters_that_was_left_half_done_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (replicas, leader) = formed(dir.path()).await;
    let leading = replicas.iter().find(|replica| replica.status().node_id == leader).unwrap();
    let inner = &leading.inner;
    let stays = replicas.iter().map(|replica| replica.status().node_id).filter(|id| id.0 != leader.0 % 3 + 1);
    let (all, stays) = (std::collections::BTreeSet::from([1, 2, 3].map(NodeId)), stays.collect());
    let nodes: Vec<_> = all.iter().map(|id| (*id, inner.peers.member(*id).unwrap())).collect();
    let joint = Membership { configs: vec![all, stays], nodes: nodes.into_iter().collect() };
    let blank = openraft::EntryPayload::Blank;
    inner.raft.append_membership(raft_membership(joint).unwrap(), blank, []).await.unwrap();
    assert!(inner.peers.is_joint());
    assert_eq!(leading.promote(leader).await, Err(ChangeError::UnderWay));
    let mut watch = leading.watch();
    watch.wait_for(|status| status.members.iter().filter(|member| member.voter).count() == 2).await.unwrap();
    assert!(!inner.peers.is_joint());
}

/// The leader of a group, and a follower.
fn leader_and_follower(replicas: &[Replica], leader: NodeId) -> (&Inner, &Inner) {
    let of = |leads: bool| replicas.iter().find(|replica| (replica.status().node_id == leader) == leads).unwrap();
    (&of(true).inner, &of(false).inner)
}

// Hazards 2, 7: what the other one states is held against the membership.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_with_another_folder_than_the_membership_says_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (replicas, leader) = formed(dir.path()).await;
    let (leading, following) = leader_and_follower(&replicas, leader);
    let party = |inner: &Inner| {
        let identity = &inner.peers.identity;
        Party { node: identity.node_id, incarnation: identity.incarnation }
    };
    let (purpose, cluster, past) = (Purpose::Call, leading.peers.identity.cluster(), Past::default());
    let mut hello = Hello { purpose, cluster, group: GroupId(1), from: party(following), to: party(leading), past };
    let asked = leading.peers.question().asked;
    assert_eq!(leading.peers.answer(&hello, asked).await.refusal, None);
    hello.from.incarnation = Incarnation(hello.from.incarnation.0 ^ 1);
    assert_eq!(leading.peers.answer(&hello, asked).await.refusal, Some(Refusal::CallerIncarnation));
}

/// A vote of a term that no group comes to.
fn impossible(inner: &Inner, committed: bool) -> RaftVote {
    let term = inner.status.borrow().term.0 + (1 << 21);
    openraft::Vote { leader_id: LeaderId { term, voted_for: inner.peers.identity.node_id }, committed }
}

async fn connect(from: &Inner, to: &Inner, purpose: Purpose) -> TcpStream {
    let target = to.peers.identity.node_id;
    from.peers.connect(target, &to.peers.member(target).unwrap(), purpose).await.unwrap()
}

// Hazards 7: a term is never given up again, so one from nowhere would poison whoever takes it.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_an_impossible_term_are_refused_and_nothing_of_them_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let (replicas, leader) = formed(dir.path()).await;
    let (leading, following) = leader_and_follower(&replicas, leader);
    let vote = impossible(following, true);

    let mut calls = FrameReader::new(connect(following, leading, Purpose::Call).await);
    let asked = CallRequest::Vote(VoteRequest::new(impossible(following, false), None));
    write_frame(calls.stream(), &asked.encode()).await.unwrap();
    assert!(!matches!(calls.next().await, Ok(Some(_))), "a vote is answered");

    let mut appends = connect(following, leading, Purpose::Append).await;
    let request = AppendEntriesRequest { vote, prev_log_id: None, leader_commit: None, entries: Vec::new() };
    write_pieces(&mut appends, encode_request(request)).await.unwrap();
    assert!(appends.read_u8().await.is_err(), "an append is answered");

    let mut offers = FrameReader::new(connect(following, leading, Purpose::Checkpoint).await);
    let point = AppliedPoint { id: LogId::default(), membership: None };
    let offer = CheckpointRequest::Offer { vote, manifest: Manifest { group: GroupId(1), point, files: Vec::new() } };
    write_frame(offers.stream(), &offer.encode()).await.unwrap();
    let answer = CheckpointAnswer::decode(&offers.next().await.unwrap().unwrap()).unwrap();
    assert!(matches!(answer, CheckpointAnswer::Refused(_)), "{answer:?}");
    assert!(leading.log.hard_state().unwrap().term < Term(vote.leader_id.term));
}

/// Takes the port of a node that has ended, and answers each call with this vote.
async fn answer_calls(port: net::TcpListener, peers: Arc<Peers>, vote: RaftVote) -> io::Result<()> {
    loop {
        let (mut stream, _) = port.accept().await?;
        let peers = peers.clone();
        drop(tokio::spawn(async move {
            let question = peers.question();
            let caller = hear(&mut stream, peers.key(), &question.nonce).await.map_err(io::Error::other)?;
            caller.welcome(&mut stream, &peers.answer(&caller.hello, question.asked).await).await?;
            let mut frames = FrameReader::new(stream);
            while caller.hello.purpose == Purpose::Call && frames.next().await?.is_some() {
                let answer = CallAnswer { vote, last_log_id: None, granted: true };
                write_frame(frames.stream(), &answer.encode()).await?;
            }
            Ok::<_, io::Error>(())
        }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_an_impossible_term_count_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (replicas, leader) = formed(dir.path()).await;
    let (leading, following) = leader_and_follower(&replicas, leader);
    let (id, vote) = (following.peers.identity.node_id, impossible(leading, true));
    let checked = Checked::new(&leading.peers, id, vote);
    let higher = |vote: RaftVote| -> StreamAppendResult<TypeConfig> { Err(StreamAppendError::HigherVote(vote)) };
    assert!(checked.answer(higher(vote)).await.is_err());
    let mut possible = vote;
    possible.leader_id.term -= 1 << 20;
    assert!(checked.answer(higher(possible)).await.is_ok());

    let node = leading.peers.member(id).unwrap();
    replicas.iter().find(|replica| replica.status().node_id == id).unwrap().shutdown().await;
    let port = net::adopt(net::bind(node.addresses.peer.parse().unwrap()).unwrap()).unwrap();
    let serving = tokio::spawn(answer_calls(port, following.peers.clone(), vote));
    let calls = Arc::new(Calls::new(leading.peers.clone(), Arc::new(Votes::new(leading.log.clone(), leader))));
    let answer = calls.call(id, &node, CallRequest::Leads(impossible(leading, true)), Duration::from_secs(10)).await;
    let refused = answer.unwrap_err().to_string();
    assert!(refused.contains("impossibly far"), "{refused}");
    serving.abort();
}
