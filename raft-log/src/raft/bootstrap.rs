//! Forming a group, once (hazards 27).
//!
//! ```text
//!   1. ask every voter: who are you, are you empty, are you claimed?       any answer but "empty": refused
//!   2. the membership is made of their incarnations and addresses          random cluster id, or that of an earlier claim
//!   3. claim every voter, durably, for this cluster and this membership    a claim is never replaced
//!   4. the first entry is written here; the others get it by replication
//! ```
//! Interrupted anywhere, it can be repeated with the same voters: the claims make the repetition choose the same cluster
//! id and the same first entry. Of two bootstraps at once, the one that claims the lowest node first wins, because all
//! claim in the order of node ids; the other stops before it has claimed anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::try_join_all;
use openraft::error::{InitializeError, RaftError};

use crate::env::Env;
use crate::identity::Claim;
use crate::membership::{MemberNode, Membership};
use crate::raft::network::net::TcpStream;
use crate::raft::network::peers::{ConnectError, Peers};
use crate::raft::network::socket::{FrameReader, write_frame};
use crate::raft::type_config::RaftCore;
use crate::raft::wire::bootstrap::{BootstrapAnswer, BootstrapRequest, ClaimOutcome, NodeState};
use crate::replica::BootstrapError;
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
    let claim = claim_for(&asked, env)?;
    for voter in &asked {
        claim_voter(peers, voter, &claim).await?;
    }
    Ok(claim)
}

/// Asks an empty node that is to join this group, and claims it: the member that it becomes.
pub(crate) async fn reserve_joiner(peers: &Peers, node: NodeId, address: String) -> Result<MemberNode, BootstrapError> {
    let asked = ask(peers, node, address).await?;
    let claimed = asked.state.claim.as_ref().map(|claim| claim.cluster);
    if !asked.state.empty {
        return Err(BootstrapError::NotEmpty { node, cluster: claimed });
    }
    let joiner = member(&asked);
    let cluster = peers.identity.cluster().expect("a leader belongs to a cluster");
    // Without voters: a claim that no bootstrap makes, so that none can take the node.
    let membership = Membership { configs: Vec::new(), nodes: BTreeMap::from([(node, joiner.clone())]) };
    claim_voter(peers, &asked, &Claim { cluster, membership: membership.encode() }).await?;
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
        BootstrapAnswer::Claimed(_) => {
            Err(BootstrapError::Unreachable { node, address, reason: "it answered another question".to_owned() })
        }
    }
}

/// The claim that all voters are to hold: the one that some of them hold already, or a new one.
fn claim_for(asked: &[Asked], env: &Env) -> Result<Claim, BootstrapError> {
    if let Some(used) = asked.iter().find(|voter| !voter.state.empty) {
        let cluster = used.state.claim.as_ref().map(|claim| claim.cluster);
        return Err(BootstrapError::NotEmpty { node: used.node, cluster });
    }
    let membership = Membership {
        configs: vec![asked.iter().map(|voter| voter.node).collect()],
        nodes: asked.iter().map(|voter| (voter.node, member(voter))).collect(),
    }
    .encode();
    let held = asked.iter().find_map(|voter| voter.state.claim.as_ref());
    let cluster = held.map_or_else(|| ClusterId(env.rng.next_u128()), |claim| claim.cluster);
    let claim = Claim { cluster, membership };
    for voter in asked {
        match &voter.state.claim {
            Some(other) if *other != claim => {
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
        BootstrapAnswer::Claimed(ClaimOutcome::Failed) | BootstrapAnswer::State(_) => {
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
        ConnectError::Refused { refusal, found, .. } => BootstrapError::WrongPeer {
            node,
            address: address.to_owned(),
            reason: format!("{found} answered: {refusal}"),
        },
        ConnectError::Io { .. } | ConnectError::Wire { .. } => unreachable(error.to_string()),
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
