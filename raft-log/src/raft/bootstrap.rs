//! Forming a group, once (hazards 27).
//!
//! ```text
//!   1. ask every voter: who are you, are you empty, are you claimed?       any answer but "empty": refused
//!   2. ask every voter: do you reach every other, and yourself, where it   who is not where it says others find it would
//!      advertises?                                                         be lost to the group for good: refused
//!   3. the membership is made of their incarnations and addresses          random cluster id, or that of an earlier claim
//!   4. claim every voter, durably, for this cluster and this membership    a claim is never replaced; it brings the
//!                                                                          cluster's secret, unless a file gave it
//!   5. the first entry is written here; the others get it by replication
//! ```
//! Interrupted anywhere, it can be repeated with the same voters: the claims make the repetition choose the same cluster
//! id and the same first entry. Of two bootstraps at once, the one that claims the lowest node first wins, because all
//! claim in the order of node ids; the other stops before it has claimed anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::try_join_all;
use openraft::error::{InitializeError, RaftError};

use crate::env::Env;
use crate::exec;
use crate::identity::Claim;
use crate::membership::{MemberNode, Membership, NodeAddresses};
use crate::raft::core::RaftCore;
use crate::raft::network::greeting::GreetError;
use crate::raft::network::net::TcpStream;
use crate::raft::network::peers::{ConnectError, Peers};
use crate::raft::network::socket::{self, FrameReader, write_frame};
use crate::raft::wire::bootstrap::{BootstrapAnswer, BootstrapRequest, ClaimOutcome, NodeState, Port, Reached};
use crate::replica::BootstrapError;
use crate::secret::PeerSecret;
use crate::types::{ClusterId, Incarnation, NodeId};

/// A voter that has not answered by then counts as unreachable.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Voters of a group; more make every append slower and nothing safer.
const VOTERS_MAX: usize = 7;

/// A voter that was asked.
struct Asked {
    node: NodeId,
    address: String,
    incarnation: Incarnation,
    state: NodeState,
}

/// Forms a group of these voters, with the first entry on this node.
pub(crate) async fn bootstrap(
    peers: &Peers,
    raft: &RaftCore,
    env: &Env,
    voters: Vec<(NodeId, String)>,
) -> Result<ClusterId, BootstrapError> {
    let claim = reserve(peers, env, voters).await?;
    initialize(raft, &claim, peers.identity.node_id).await?;
    tracing::info!(cluster = %claim.cluster, "the group is formed");
    Ok(claim.cluster)
}

/// Everything before the first entry: asks all voters and claims them.
pub(crate) async fn reserve(
    peers: &Peers,
    env: &Env,
    mut voters: Vec<(NodeId, String)>,
) -> Result<Claim, BootstrapError> {
    check_voters(&voters, peers.identity.node_id)?;
    voters.sort();
    let asked = try_join_all(voters.into_iter().map(|(node, address)| ask(peers, node, address))).await?;
    check_empty(&asked)?;
    check_apart(&asked)?;
    try_join_all((0..asked.len()).map(|place| check_reached(peers, place, &asked))).await?;
    let mut claim = claim_for(&asked, env)?;
    claim.secret = secret_to_hand_out(peers).await?;
    for voter in &asked {
        claim_voter(peers, voter, &claim).await?;
    }
    Ok(claim)
}

/// The secret that a claim brings: none if a file gave it to this node, and so to every other.
async fn secret_to_hand_out(peers: &Peers) -> Result<Option<PeerSecret>, BootstrapError> {
    if peers.is_strict() {
        return Ok(None);
    }
    if let Some(secret) = peers.identity.claim().and_then(|claim| claim.secret) {
        return Ok(Some(secret));
    }
    let identity = peers.identity.clone();
    let offered = exec::blocking(move || identity.offer()).await.flatten();
    offered.map(Some).map_err(|error| BootstrapError::Stopped(format!("noting the group's secret: {error}")))
}

/// Has one voter reach all of them where they advertise themselves, one after the other, itself first: so each of them is
/// reached by about one at a time, and the few places that it has for strangers do.
async fn check_reached(peers: &Peers, place: usize, all: &[Asked]) -> Result<(), BootstrapError> {
    let by = &all[place];
    for voter in all[place..].iter().chain(&all[..place]) {
        check_reaches(peers, (by.node, &by.address), voter).await?;
    }
    Ok(())
}

/// Has the node `by` reach another where that advertises itself. What it finds behind the peer address must be the folder
/// that was asked; the ports for clients and HTTP are not the log's, so there it counts that somebody takes connections.
/// Nodes pass requests on to the client address of others; nobody but operators needs to reach the one for HTTP.
async fn check_reaches(peers: &Peers, by: (NodeId, &str), voter: &Asked) -> Result<(), BootstrapError> {
    let mut addresses = voter.state.advertised.clone();
    if by.0 != voter.node {
        addresses.http.clear();
    }
    let request = BootstrapRequest::Reach { node: voter.node, addresses: addresses.clone() };
    let (answer, _) = exchange(peers, by.0, by.1, request).await?;
    let (port, reason) = match answer {
        BootstrapAnswer::Reached(Reached::Node(found)) if found == voter.incarnation => return Ok(()),
        // An earlier attempt has claimed it, and not yet the one that was asked.
        BootstrapAnswer::Reached(Reached::Keyed) if voter.state.claim.is_some() => return Ok(()),
        BootstrapAnswer::Reached(Reached::Node(_)) => (Port::Peer, "another data folder answers there".to_owned()),
        BootstrapAnswer::Reached(Reached::Keyed) => (Port::Peer, "a node with a peer secret answers there".to_owned()),
        BootstrapAnswer::Reached(Reached::Not(port, reason)) => (port, reason),
        BootstrapAnswer::State(_) | BootstrapAnswer::Claimed(_) => {
            (Port::Peer, "it answered another question".to_owned())
        }
    };
    let address = match port {
        Port::Peer => addresses.peer,
        Port::Client => addresses.client,
        Port::Http => addresses.http,
    };
    Err(BootstrapError::Advertised { node: voter.node, port: port.name(), address, by: by.0, reason })
}

/// Clients must tell the voters apart; where their other addresses lead shows when they are reached.
fn check_apart(asked: &[Asked]) -> Result<(), BootstrapError> {
    let mut seen = BTreeMap::new();
    for voter in asked {
        let address = voter.state.advertised.client.clone();
        if let Some(by) = seen.insert(address.clone(), voter.node)
            && !address.is_empty()
        {
            let reason = "it advertises the same one".to_owned();
            return Err(BootstrapError::Advertised {
                node: voter.node,
                port: Port::Client.name(),
                address,
                by,
                reason,
            });
        }
    }
    Ok(())
}

/// Connects to a node's addresses, for one who asks whether it is there.
pub(crate) async fn reach(peers: &Peers, node: NodeId, addresses: &NodeAddresses) -> Reached {
    for (port, address) in [(Port::Client, &addresses.client), (Port::Http, &addresses.http)] {
        if !address.is_empty()
            && let Err(error) = socket::connect(address).await
        {
            return Reached::Not(port, error.to_string());
        }
    }
    match peers.connect_for_bootstrap(node, &addresses.peer).await {
        Ok((_, incarnation)) => Reached::Node(incarnation),
        Err(ConnectError::Greet { source: GreetError::NoSecretHere, .. }) => Reached::Keyed,
        Err(error) => Reached::Not(Port::Peer, error.to_string()),
    }
}

/// Asks an empty node that is to join this group, and claims it: the member that it becomes. Every member that answers, this
/// one among them, must reach it where it advertises itself, and so must it; and it must reach this one.
pub(crate) async fn reserve_joiner(peers: &Peers, node: NodeId, address: String) -> Result<MemberNode, BootstrapError> {
    let asked = ask(peers, node, address).await?;
    let claimed = asked.state.claim.as_ref().map(|claim| claim.cluster);
    if !asked.state.empty {
        return Err(BootstrapError::NotEmpty { node, cluster: claimed });
    }
    let own = peers.identity.node_id;
    for (id, member) in peers.members() {
        match check_reaches(peers, (id, &member.addresses.peer), &asked).await {
            // It may be the very member that is replaced.
            Err(BootstrapError::Unreachable { .. } | BootstrapError::WrongPeer { .. }) if id != own => {}
            reached => reached?,
        }
    }
    check_reaches(peers, (node, &asked.address), &asked).await?;
    let joiner = member(&asked);
    let cluster = peers.identity.cluster().expect("a leader belongs to a cluster");
    // Without voters: a claim that no bootstrap makes, so that none can take the node.
    let membership = Membership { configs: Vec::new(), nodes: BTreeMap::from([(node, joiner.clone())]) };
    let secret = secret_to_hand_out(peers).await?;
    claim_voter(peers, &asked, &Claim { cluster, membership: membership.encode(), secret }).await?;
    let state = NodeState { empty: false, claim: None, advertised: peers.advertised.clone() };
    let this = Asked { node: own, address: String::new(), incarnation: peers.identity.incarnation, state };
    check_reaches(peers, (node, &asked.address), &this).await?;
    Ok(joiner)
}

/// Asks a node that may be a member already who it is.
pub(crate) async fn ask_member(peers: &Peers, node: NodeId, address: String) -> Result<MemberNode, BootstrapError> {
    Ok(member(&ask(peers, node, address).await?))
}

fn check_voters(voters: &[(NodeId, String)], own: NodeId) -> Result<(), BootstrapError> {
    let ids: BTreeSet<NodeId> = voters.iter().map(|(node, _)| *node).collect();
    let problem = if ids.len() != voters.len() {
        "a node is listed twice".to_owned()
    } else if !ids.contains(&own) {
        format!("node {own}, which was asked to bootstrap, is not among them")
    } else if ids.len() > VOTERS_MAX {
        format!("{} are more than {VOTERS_MAX}", ids.len())
    } else {
        return Ok(());
    };
    Err(BootstrapError::Voters(problem))
}

async fn ask(peers: &Peers, node: NodeId, address: String) -> Result<Asked, BootstrapError> {
    let (answer, incarnation) = exchange(peers, node, &address, BootstrapRequest::Ask).await?;
    match answer {
        BootstrapAnswer::State(state) => Ok(Asked { node, address, incarnation, state }),
        BootstrapAnswer::Claimed(_) | BootstrapAnswer::Reached(_) => {
            Err(BootstrapError::Unreachable { node, address, reason: "it answered another question".to_owned() })
        }
    }
}

fn check_empty(asked: &[Asked]) -> Result<(), BootstrapError> {
    let Some(used) = asked.iter().find(|voter| !voter.state.empty) else { return Ok(()) };
    let cluster = used.state.claim.as_ref().map(|claim| claim.cluster);
    Err(BootstrapError::NotEmpty { node: used.node, cluster })
}

/// The claim that all voters are to hold: the one that some of them hold already, or a new one.
fn claim_for(asked: &[Asked], env: &Env) -> Result<Claim, BootstrapError> {
    let membership = Membership {
        configs: vec![asked.iter().map(|voter| voter.node).collect()],
        nodes: asked.iter().map(|voter| (voter.node, member(voter))).collect(),
    }
    .encode();
    let held = asked.iter().find_map(|voter| voter.state.claim.as_ref());
    let cluster = held.map_or_else(|| ClusterId(env.rng.next_u128()), |claim| claim.cluster);
    let claim = Claim { cluster, membership, secret: None };
    for voter in asked {
        match &voter.state.claim {
            Some(other) if !other.same_group(&claim) => {
                return Err(BootstrapError::Claimed { node: voter.node, claimed: other.cluster });
            }
            _ => {}
        }
    }
    Ok(claim)
}

fn member(voter: &Asked) -> MemberNode {
    let addresses = voter.state.advertised.clone();
    MemberNode { addresses, incarnation: voter.incarnation, retired: BTreeSet::new() }
}

async fn claim_voter(peers: &Peers, voter: &Asked, claim: &Claim) -> Result<(), BootstrapError> {
    let (node, address) = (voter.node, voter.address.clone());
    let (answer, incarnation) = exchange(peers, node, &address, BootstrapRequest::Claim(claim.clone())).await?;
    if incarnation != voter.incarnation {
        return Err(BootstrapError::WrongPeer { node, address, reason: "its data folder was replaced".to_owned() });
    }
    match answer {
        BootstrapAnswer::Claimed(ClaimOutcome::Done) => Ok(()),
        BootstrapAnswer::Claimed(ClaimOutcome::Claimed(claimed)) => Err(BootstrapError::Claimed { node, claimed }),
        BootstrapAnswer::Claimed(ClaimOutcome::Used) => Err(BootstrapError::NotEmpty { node, cluster: None }),
        BootstrapAnswer::Claimed(ClaimOutcome::Failed) | BootstrapAnswer::State(_) | BootstrapAnswer::Reached(_) => {
            Err(BootstrapError::Unreachable { node, address, reason: "it could not store the claim".to_owned() })
        }
    }
}

async fn initialize(raft: &RaftCore, claim: &Claim, own: NodeId) -> Result<(), BootstrapError> {
    let membership = Membership::decode(&claim.membership).expect("it was encoded here or checked to be equal");
    let nodes: BTreeMap<NodeId, MemberNode> = membership.nodes;
    match raft.initialize(nodes).await {
        Ok(()) => Ok(()),
        Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {
            Err(BootstrapError::NotEmpty { node: own, cluster: Some(claim.cluster) })
        }
        Err(RaftError::APIError(InitializeError::NotInMembers(error))) => {
            Err(BootstrapError::Voters(error.to_string()))
        }
        Err(RaftError::Fatal(fatal)) => Err(BootstrapError::Stopped(fatal.to_string())),
    }
}

async fn exchange(
    peers: &Peers,
    node: NodeId,
    address: &str,
    request: BootstrapRequest,
) -> Result<(BootstrapAnswer, Incarnation), BootstrapError> {
    let unreachable = |reason: String| BootstrapError::Unreachable { node, address: address.to_owned(), reason };
    let (stream, incarnation) = peers.connect_for_bootstrap(node, address).await.map_err(|error| match error {
        ConnectError::Refused { refusal, .. } => {
            BootstrapError::WrongPeer { node, address: address.to_owned(), reason: refusal.to_string() }
        }
        ConnectError::Greet {
            source: source @ (GreetError::OtherSecret | GreetError::NoSecretHere | GreetError::NoSecretThere),
            ..
        } => BootstrapError::Secret { node, address: address.to_owned(), reason: source.to_string() },
        ConnectError::Io { .. } | ConnectError::Greet { .. } => unreachable(error.to_string()),
    })?;
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, converse(stream, request))
        .await
        .map_err(|_| unreachable(format!("no answer within {ANSWER_TIMEOUT:?}")))?
        .map_err(|error| unreachable(error.to_string()))?;
    Ok((answer, incarnation))
}

async fn converse(mut stream: TcpStream, request: BootstrapRequest) -> std::io::Result<BootstrapAnswer> {
    write_frame(&mut stream, &request.encode()).await?;
    let frame = FrameReader::new(stream).next().await?;
    let body = frame.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof))?;
    BootstrapAnswer::decode(&body).map_err(std::io::Error::other)
}
