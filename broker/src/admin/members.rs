//! AddNode, PromoteNode, RemoveNode, ReplaceNode, MoveNode: all at the leader, all safe to repeat.

use std::sync::Arc;

use raft_log::{ChangeError, types::NodeId};
use tercet_proto::admin::v1::{
    AddNodeRequest, Member, MembersResponse, MoveNodeRequest, PromoteNodeRequest, RemoveNodeRequest, ReplaceNodeRequest,
};
use tonic::{Status, metadata::MetadataMap};

use super::convert;
use crate::{config::HostPort, grpc::Node};

type Reply = Result<MembersResponse, Status>;

pub(super) async fn add(node: Arc<Node>, _: MetadataMap, request: AddNodeRequest) -> Reply {
    let peer = address("peer", &request.peer)?;
    answer(&node, node.replica.add_learner(id("node_id", request.node_id)?, peer).await)
}

pub(super) async fn promote(node: Arc<Node>, _: MetadataMap, request: PromoteNodeRequest) -> Reply {
    answer(&node, node.replica.promote(id("node_id", request.node_id)?).await)
}

pub(super) async fn remove(node: Arc<Node>, _: MetadataMap, request: RemoveNodeRequest) -> Reply {
    let id = id("node_id", request.node_id)?;
    let removed = if request.keep_as_learner { node.replica.demote(id).await } else { node.replica.remove(id).await };
    answer(&node, removed)
}

pub(super) async fn replace(node: Arc<Node>, _: MetadataMap, request: ReplaceNodeRequest) -> Reply {
    let (old, new) = (id("old", request.old)?, id("new", request.new)?);
    if old == new {
        return Err(Status::invalid_argument(format!("new: node {new} cannot replace itself")));
    }
    answer(&node, node.replica.swap(old, new).await)
}

pub(super) async fn relocate(node: Arc<Node>, _: MetadataMap, request: MoveNodeRequest) -> Reply {
    let id = id("node_id", request.node_id)?;
    let wanted = request.addresses.unwrap_or_default();
    let status = node.replica.status();
    let known = status.member(id).ok_or_else(|| refused(ChangeError::NotAMember(id)))?;
    let mut addresses = known.addresses.clone();
    for (name, wanted, place) in [
        ("addresses.client", wanted.client, &mut addresses.client),
        ("addresses.peer", wanted.peer, &mut addresses.peer),
        ("addresses.http", wanted.http, &mut addresses.http),
    ] {
        if !wanted.is_empty() {
            *place = address(name, &wanted)?;
        }
    }
    answer(&node, node.replica.set_addresses(id, addresses).await)
}

fn answer(node: &Node, changed: Result<(), ChangeError>) -> Reply {
    changed.map_err(refused)?;
    let status = node.replica.status();
    let member = |member: &raft_log::Member| Member {
        node_id: member.id.0,
        addresses: Some(convert::addresses(&member.addresses)),
        voter: member.voter,
    };
    Ok(MembersResponse { members: status.members.iter().map(member).collect() })
}

fn id(field: &str, id: u64) -> Result<NodeId, Status> {
    if id == 0 { Err(Status::invalid_argument(format!("{field}: node ids begin at 1"))) } else { Ok(NodeId(id)) }
}

fn address(field: &str, text: &str) -> Result<String, Status> {
    let parsed: Result<HostPort, _> = text.parse();
    parsed.map(|address| address.to_string()).map_err(|error| Status::invalid_argument(format!("{field}: {error}")))
}

fn refused(error: ChangeError) -> Status {
    let text = error.to_string();
    match error {
        ChangeError::NotLeader { .. } => Status::unavailable(text),
        ChangeError::NotAMember(_) => Status::not_found(text),
        ChangeError::Unknown { .. } => Status::deadline_exceeded(text),
        ChangeError::Joiner(_)
        | ChangeError::IdInUse(_)
        | ChangeError::IdUsedUp(_)
        | ChangeError::NotAVoter(_)
        | ChangeError::OlderCopy(_)
        | ChangeError::Behind { .. }
        | ChangeError::QuorumAtRisk { .. }
        | ChangeError::UnderWay
        | ChangeError::Leads(_) => Status::failed_precondition(text),
    }
}
