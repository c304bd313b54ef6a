//! What can only be seen from inside: a bootstrap that ends between claim and first entry.

use std::path::Path;

use super::*;
use crate::membership::{Membership, NodeAddresses};
use crate::raft::type_config::raft_membership;
use crate::raft::vote_gate::GateReason;
use crate::state_machine::{AppliedPoint, ApplyEntry, ApplyError, FinishCheckpoint, FinishFlush, FlushNeed};
use crate::types::GroupId;

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
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
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
