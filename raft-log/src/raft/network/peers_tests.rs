//! What the two ends of a connection state of themselves is compared by both: each thing alone turns the other away.

use std::path::Path;

use super::*;
use crate::env::sim::SimEnv;
use crate::identity::Claim;
use crate::openings::Openings;
use crate::raft::network::pasts::OwnPast;
use crate::raft::sightings::Sightings;
use crate::raft::vote_gate::VoteGate;
use crate::storage::Room;
use crate::types::ClusterId;

const GROUP: GroupId = GroupId(3);
const CLUSTER: ClusterId = ClusterId(77);
/// Who talks to the node.
const OTHER: Party = Party { node: NodeId(2), incarnation: Incarnation(22) };

/// A node without a core, which has heard of no members.
pub(crate) fn alone(
    sim: &SimEnv,
    dir: &Path,
    identity: Arc<Identity>,
    gate: &VoteGate,
    health: &watch::Sender<Health>,
) -> Peers {
    let (env, node) = (sim.env(), identity.node_id);
    let openings = Arc::new(Openings::begin(&env, dir).unwrap());
    let past = OwnPast { openings, opened_end: None, may_forget: false };
    let sightings = Arc::new(Sightings::open(&env, dir).unwrap());
    let pasts = Pasts::new(past, sightings, health.clone(), gate.clone(), node);
    let (rooms, clocks) = (Rooms::new(node, watch::channel(Room::Enough).1), Clocks::new(node, env.clock));
    Peers::new(identity, NodeAddresses::default(), rooms, clocks, pasts, None, health.clone())
}

fn secret() -> PeerSecret {
    PeerSecret::from_bytes([5; SECRET_BYTES])
}

/// Node 1, which is claimed for the cluster.
fn claimed() -> Peers {
    let (sim, dir) = (SimEnv::new(1), Path::new("/data"));
    sim.env().disk.create_dir_all(dir).unwrap();
    let identity = Identity::open(&sim.env(), dir, NodeId(1), GROUP, true).unwrap();
    let claim = Claim { cluster: CLUSTER, membership: bytes::Bytes::new(), secret: Some(secret()) };
    identity.set_claim(claim).unwrap();
    alone(&sim, dir, Arc::new(identity), &VoteGate::default(), &watch::Sender::new(Health::Healthy))
}

// The incarnation of the caller is compared with the membership, which only a node with a core has (`replica::tests`).
#[tokio::test]
async fn a_caller_is_refused_for_each_thing_that_it_alone_has_wrong() {
    type Change = fn(&mut Hello);
    let changes: [(Refusal, Change); 5] = [
        (Refusal::Group, |hello| hello.group = GroupId(4)),
        (Refusal::Node, |hello| hello.to.node = NodeId(3)),
        (Refusal::Cluster, |hello| hello.cluster = Some(ClusterId(78))),
        (Refusal::Cluster, |hello| hello.cluster = None),
        (Refusal::Incarnation, |hello| hello.to.incarnation.0 ^= 1),
    ];
    let peers = claimed();
    let (to, asked) = (peers.party(), peers.question().asked);
    let past = Past::default();
    let right = Hello { purpose: Purpose::Call, cluster: Some(CLUSTER), group: GROUP, from: OTHER, to, past };
    assert_eq!(peers.answer(&right, asked).await.refusal, None);
    for (refusal, change) in changes {
        let mut hello = right.clone();
        change(&mut hello);
        assert_eq!(peers.answer(&hello, asked).await.refusal, Some(refusal), "{hello:?}");
    }
}

/// What comes of calling node 2 if it answers this.
#[cfg(not(tercet_sim))]
async fn call(peers: &Peers, welcome: Welcome) -> Result<TcpStream, ConnectError> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = NodeAddresses { peer: listener.local_addr().unwrap().to_string(), ..NodeAddresses::default() };
    let known = MemberNode { addresses, incarnation: OTHER.incarnation, retired: BTreeSet::new() };
    let callee = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let nonce = [2; SECRET_BYTES];
        let caller = crate::raft::network::greeting::hear(&mut stream, Key::Shared(secret()), &nonce).await.unwrap();
        caller.welcome(&mut stream, &welcome).await.unwrap();
    };
    tokio::join!(peers.connect(OTHER.node, &known, Purpose::Call), callee).0
}

// The callee may be of another build: the caller does not rely on what that one compares.
#[cfg(not(tercet_sim))]
#[tokio::test]
async fn a_callee_is_doubted_for_each_thing_that_it_alone_has_wrong() {
    type Change = fn(&mut Welcome);
    let changes: [(Refusal, Change); 6] = [
        (Refusal::Group, |welcome| welcome.group = GroupId(4)),
        (Refusal::Node, |welcome| welcome.party.node = NodeId(3)),
        (Refusal::Cluster, |welcome| welcome.cluster = Some(ClusterId(78))),
        (Refusal::Cluster, |welcome| welcome.cluster = None),
        (Refusal::Incarnation, |welcome| welcome.party.incarnation.0 ^= 1),
        (Refusal::Busy, |welcome| welcome.refusal = Some(Refusal::Busy)),
    ];
    let peers = claimed();
    let past = Past::default();
    let right = Welcome { refusal: None, cluster: Some(CLUSTER), group: GROUP, party: OTHER, past };
    call(&peers, right.clone()).await.unwrap();
    for (refusal, change) in changes {
        let mut welcome = right.clone();
        change(&mut welcome);
        let called = call(&peers, welcome).await;
        let as_expected = matches!(&called, Err(ConnectError::Refused { refusal: found, .. }) if *found == refusal);
        assert!(as_expected, "{refusal:?}: {called:?}");
    }
}
