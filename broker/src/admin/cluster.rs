//! Bootstrap, ClusterStatus, NodeStatus, TransferLeadership.

use std::{sync::Arc, time::Duration};

use raft_log::{
    BootstrapError, TransferError,
    types::{NodeId, Term},
};
use tercet_proto::admin::v1::{
    BootstrapRequest, BootstrapResponse, ClusterStatusResponse, Node as WireNode, NodeStatusRequest,
    NodeStatusResponse, TransferLeadershipRequest, TransferLeadershipResponse,
};
use tonic::{Request, Status, metadata::MetadataMap};

use super::{at_leader::client, convert};
use crate::{grpc::Node, state::Level};

/// How long a node has to answer for its status; a dead one must not hold up the others.
const NODE_WITHIN: Duration = Duration::from_secs(1);
/// How long the first election after a bootstrap, or the one of a transfer, may take.
const ELECTED_WITHIN: Duration = Duration::from_secs(10);
/// How often a bootstrap looks whether the group serves.
const SEEDED_LOOK_EVERY: Duration = Duration::from_millis(10);
/// Voters of one bootstrap.
const VOTERS_MAX: usize = 9;

/// Forms the group and waits until it serves.
pub(super) async fn bootstrap(node: &Node, request: BootstrapRequest) -> Result<BootstrapResponse, Status> {
    if request.voters.is_empty() || request.voters.len() > VOTERS_MAX {
        return Err(Status::invalid_argument(format!("voters: 1 to {VOTERS_MAX} are needed")));
    }
    let voters = request.voters.into_iter().map(|voter| (NodeId(voter.node_id), voter.peer)).collect();
    let cluster = node.replica.bootstrap(voters).await.map_err(|error| match error {
        BootstrapError::Voters(_) => Status::invalid_argument(error.to_string()),
        BootstrapError::Unreachable { .. } | BootstrapError::Stopped(_) => Status::unavailable(error.to_string()),
        BootstrapError::WrongPeer { .. }
        | BootstrapError::Advertised { .. }
        | BootstrapError::Secret { .. }
        | BootstrapError::NotEmpty { .. }
        | BootstrapError::Claimed { .. } => Status::failed_precondition(error.to_string()),
    })?;
    tracing::info!(%cluster, "a cluster was bootstrapped");
    let mut status = node.replica.watch_standing();
    let elected = status.wait_for(|status| status.leader.is_some());
    // Behind its first command, whatever comes finds the group's settings.
    let serves = async {
        let elected = elected.await.is_ok();
        seeded(node).await;
        elected
    };
    match tokio::time::timeout(ELECTED_WITHIN, serves).await {
        Ok(true) => Ok(BootstrapResponse { cluster_id: cluster.to_string() }),
        _ => Err(Status::deadline_exceeded(format!("cluster {cluster} is formed, but does not serve yet"))),
    }
}

/// Returns once this node's state holds the group's first command.
async fn seeded(node: &Node) {
    while node.state.cluster().is_none() {
        tokio::time::sleep(SEEDED_LOOK_EVERY).await;
    }
}

/// This node alone.
pub(super) fn node_status(node: &Node) -> NodeStatusResponse {
    let status = node.replica.status();
    let cluster_id = status.cluster.map(|cluster| cluster.to_string()).unwrap_or_default();
    let (level, newest_level) = (node.state.level().number(), Level::NEWEST.number());
    let wire = WireNode { level, newest_level, ..convert::node(&status) };
    NodeStatusResponse { cluster_id, group: node.options.group.0, node: Some(wire) }
}

/// All nodes, asked at once.
pub(super) async fn cluster_status(node: &Node) -> ClusterStatusResponse {
    let own = node_status(node);
    let status = node.replica.status();
    let others = status.members.iter().filter(|member| member.id != status.node_id);
    let asked = others.map(|member| async {
        let answer = ask(node, (member.id, &own.cluster_id), &member.addresses.client).await;
        answer.unwrap_or_else(|problem| WireNode {
            node_id: member.id.0,
            addresses: Some(convert::addresses(&member.addresses)),
            voter: member.voter,
            problem,
            ..Default::default()
        })
    });
    let mut nodes = futures::future::join_all(asked).await;
    nodes.extend(own.node);
    nodes.sort_by_key(|node| node.node_id);
    let leader = leader_of(&nodes);
    set_lag(&mut nodes, leader);
    ClusterStatusResponse { cluster_id: own.cluster_id, group: own.group, leader, nodes }
}

/// The status of a member, by its own word.
async fn ask(node: &Node, (member, cluster): (NodeId, &str), address: &str) -> Result<WireNode, String> {
    let channel = node.relay.channel(address).ok_or_else(|| format!("has no usable client address ({address:?})"))?;
    let mut request = Request::new(NodeStatusRequest {});
    request.set_timeout(NODE_WITHIN);
    let mut client = client(channel);
    match tokio::time::timeout(NODE_WITHIN, client.node_status(request)).await {
        Ok(Ok(answer)) => {
            let NodeStatusResponse { cluster_id, node, .. } = answer.into_inner();
            let own = node.filter(|node| node.node_id == member.0 && cluster_id == cluster);
            own.ok_or_else(|| format!("is not the one who answers at {address}"))
        }
        Ok(Err(status)) => Err(format!("did not answer at {address}: {}", status.message())),
        Err(_) => Err(format!("did not answer at {address} within {} s", NODE_WITHIN.as_secs())),
    }
}

/// The leader of the highest term that any node names.
fn leader_of(nodes: &[WireNode]) -> Option<u64> {
    nodes.iter().filter(|node| node.leader.is_some()).max_by_key(|node| node.term).and_then(|node| node.leader)
}

/// What the leader has and a node lacks.
fn set_lag(nodes: &mut [WireNode], leader: Option<u64>) {
    let last = nodes.iter().find(|node| Some(node.node_id) == leader).and_then(|node| node.last_index);
    let Some(last) = last else { return };
    for node in nodes {
        node.lag = last.saturating_sub(node.last_index.unwrap_or(0));
    }
}

/// At the leader: hands over and says who leads then.
pub(super) async fn transfer(
    node: Arc<Node>,
    _: MetadataMap,
    request: TransferLeadershipRequest,
) -> Result<TransferLeadershipResponse, Status> {
    let before = node.replica.status();
    if request.to == Some(before.node_id.0) {
        return Ok(TransferLeadershipResponse { leader: before.node_id.0, term: before.term.0 });
    }
    node.replica.transfer_leadership(request.to.map(NodeId)).await.map_err(|error| match error {
        TransferError::NotLeader { .. } | TransferError::Stopped(_) => Status::unavailable(error.to_string()),
        TransferError::NotAVoter(_) => Status::invalid_argument(format!("to: {error}")),
        TransferError::NoCandidate(_) | TransferError::TimedOut(_) => Status::failed_precondition(error.to_string()),
    })?;
    match tokio::time::timeout(ELECTED_WITHIN, other_leader(&node, before.node_id)).await {
        Ok(Some((leader, term))) => Ok(TransferLeadershipResponse { leader: leader.0, term: term.0 }),
        _ => Err(Status::deadline_exceeded("leadership was handed over, but the new leader is not known here yet")),
    }
}

/// Returns when another node than this leads; nothing if the replica is gone.
async fn other_leader(node: &Node, than: NodeId) -> Option<(NodeId, Term)> {
    let mut status = node.replica.watch_standing();
    loop {
        {
            let now = status.borrow_and_update();
            if let Some(leader) = now.leader.filter(|leader| *leader != than) {
                return Some((leader, now.term));
            }
        }
        status.changed().await.ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, term: u64, leader: Option<u64>, last_index: Option<u64>) -> WireNode {
        WireNode { node_id: id, term, leader, last_index, ..Default::default() }
    }

    #[test]
    fn the_leader_of_the_highest_term_counts_and_lag_is_measured_against_it() {
        let mut nodes = vec![node(1, 3, Some(1), Some(90)), node(2, 4, Some(2), Some(100)), node(3, 0, None, None)];
        let leader = leader_of(&nodes);
        assert_eq!(leader, Some(2));
        set_lag(&mut nodes, leader);
        assert_eq!(nodes.iter().map(|node| node.lag).collect::<Vec<_>>(), [10, 0, 100]);
    }

    #[test]
    fn without_a_leader_there_is_no_lag() {
        let mut nodes = vec![node(1, 3, None, Some(90))];
        assert_eq!(leader_of(&nodes), None);
        set_lag(&mut nodes, None);
        assert_eq!(nodes[0].lag, 0);
    }
}
