//! QueryRoute and QueryAssignment: from this node's own knowledge; a topic that it does not know (yet) is asked of the
//! leader.
//!
//! A broker group is one broker, `broker-<group>` with id 0 (others are filtered out by clients), reachable at all its
//! nodes, the leader first. Every broker has a queue 0.

use std::sync::Arc;

use raft_log::{Member, Status as ReplicaStatus};
use tercet_proto::{
    headers,
    rocketmq::v2::{
        Assignment, Broker, MessageQueue, MessageType, Permission, QueryAssignmentRequest, QueryAssignmentResponse,
        QueryRouteRequest, QueryRouteResponse, Resource,
    },
};
use tonic::{Request, Response, Status, metadata::MetadataValue};

use super::{
    addresses::endpoints,
    names,
    node::Node,
    refusal::ok,
    send::unknown_topic,
    unary::{self, Call, Refused},
};
use crate::{
    forward::{Errand, Line, Relayed, Resend},
    model::TopicType,
    state::TopicView,
};

/// Answers QueryRoute.
pub(super) async fn query_route(
    node: &Arc<Node>,
    request: Request<QueryRouteRequest>,
) -> Result<Response<QueryRouteResponse>, Status> {
    unary::here(node, "QueryRoute", request, route).await
}

/// Answers QueryAssignment.
pub(super) async fn query_assignment(
    node: &Arc<Node>,
    request: Request<QueryAssignmentRequest>,
) -> Result<Response<QueryAssignmentResponse>, Status> {
    unary::here(node, "QueryAssignment", request, assignment).await
}

async fn route(
    node: Arc<Node>,
    call: Call,
    request: QueryRouteRequest,
) -> Result<Response<QueryRouteResponse>, Refused> {
    let name = names::topic(request.topic.as_ref())?;
    let Some(topic) = node.state.topic(name.as_str()) else {
        let errand = errand(&call, request);
        let forward = |channel, request| async move { unary::client(channel).query_route(request).await };
        return match node.relay.run(errand, forward).await? {
            Relayed::Answer(answer) => Ok(answer),
            Relayed::Here(_) => match node.state.topic(name.as_str()) {
                Some(topic) => Ok(routed(&node, &call, &topic)),
                None => Err(unknown_topic(name.as_str()).into()),
            },
        };
    };
    Ok(routed(&node, &call, &topic))
}

fn routed(node: &Node, call: &Call, topic: &TopicView) -> Response<QueryRouteResponse> {
    let broker = broker(node, call.caller.single_address);
    let queue = |id| queue(topic, id, &call.caller.namespace, &broker, vec![accepted(topic.settings.kind) as i32]);
    let message_queues = (0..topic.settings.queues).map(|id| queue(id as i32)).collect();
    let mut answer = Response::new(QueryRouteResponse { status: Some(ok()), message_queues });
    if node.replica.status().leader.is_none() {
        answer.metadata_mut().insert(headers::LEADER, MetadataValue::from_static("unknown"));
    }
    answer
}

async fn assignment(
    node: Arc<Node>,
    call: Call,
    request: QueryAssignmentRequest,
) -> Result<Response<QueryAssignmentResponse>, Refused> {
    let (topic, group) = (names::topic(request.topic.as_ref())?, names::group(request.group.as_ref())?);
    let (Some(topic_view), group_view) = (node.state.topic(topic.as_str()), node.state.group(group.as_str())) else {
        let forward = |channel, request| async move { unary::client(channel).query_assignment(request).await };
        return match node.relay.run(errand(&call, request), forward).await? {
            Relayed::Answer(answer) => Ok(answer),
            Relayed::Here(_) => match node.state.topic(topic.as_str()) {
                Some(view) => {
                    let fifo = node.state.group(group.as_str()).is_some_and(|group| group.settings.fifo);
                    Ok(assigned(&node, &call, &view, fifo))
                }
                None => Err(unknown_topic(topic.as_str()).into()),
            },
        };
    };
    let fifo = group_view.is_some_and(|group| group.settings.fifo);
    Ok(assigned(&node, &call, &topic_view, fifo))
}

fn assigned(node: &Node, call: &Call, topic: &TopicView, fifo: bool) -> Response<QueryAssignmentResponse> {
    let broker = broker(node, call.caller.single_address);
    let ids = if fifo { (0..topic.settings.queues as i32).collect() } else { vec![-1] };
    let queue = |id| queue(topic, id, &call.caller.namespace, &broker, Vec::new());
    let assignments = ids.into_iter().map(|id| Assignment { message_queue: Some(queue(id)) }).collect();
    Response::new(QueryAssignmentResponse { status: Some(ok()), assignments })
}

fn queue(topic: &TopicView, id: i32, namespace: &str, broker: &Broker, accept_message_types: Vec<i32>) -> MessageQueue {
    MessageQueue {
        topic: Some(Resource { resource_namespace: namespace.to_owned(), name: topic.name.as_str().to_owned() }),
        id,
        permission: Permission::ReadWrite as i32,
        broker: Some(broker.clone()),
        accept_message_types,
    }
}

fn errand<Q>(call: &Call, message: Q) -> Errand<'_, Q> {
    Errand {
        metadata: &call.metadata,
        message,
        bytes: 256,
        find_until: call.find_until(),
        answer_until: call.answer_until(),
        resend: Resend::Safe,
        line: Line::Calls,
    }
}

/// A client that takes a single address gets this node's own, which it has just reached: it then outlives the death of
/// every other node, the leader included, while its routes are as old as it likes.
fn broker(node: &Node, single: bool) -> Broker {
    let own = &node.options.advertised_client;
    let addresses = if single { vec![own.clone()] } else { client_addresses(&node.replica.status(), own) };
    Broker {
        name: format!("broker-{}", node.options.group),
        id: 0,
        endpoints: Some(endpoints(addresses.iter().map(String::as_str))),
    }
}

/// The leader's address first, then the others by node id. Without a leader this node's own comes first: it lives, and
/// takes what is sent to it to the next leader.
fn client_addresses(status: &ReplicaStatus, own: &str) -> Vec<String> {
    let address = |member: &Member| member.addresses.client.clone();
    let leader = status.leader.and_then(|leader| status.member(leader)).map(address);
    let first = leader.filter(|leader| !leader.is_empty()).unwrap_or_else(|| own.to_owned());
    let others = status.members.iter().map(address).filter(|other| !other.is_empty() && *other != first);
    let others: Vec<String> = others.collect();
    std::iter::once(first).chain(others).collect()
}

/// What a topic takes, as the protocol names it.
fn accepted(kind: TopicType) -> MessageType {
    match kind {
        TopicType::Normal => MessageType::Normal,
        TopicType::Fifo => MessageType::Fifo,
        TopicType::Delay => MessageType::Delay,
        TopicType::Transaction => MessageType::Transaction,
    }
}

#[cfg(test)]
mod tests {
    use raft_log::{
        Member, NodeAddresses, Role,
        types::{NodeId, Term},
    };

    use super::*;

    fn status(leader: Option<u64>, members: &[u64]) -> ReplicaStatus {
        let member = |id: &u64| {
            let addresses = NodeAddresses { peer: String::new(), client: format!("h:{id}"), http: String::new() };
            Member::new(NodeId(*id), addresses, true)
        };
        ReplicaStatus {
            role: Role::Follower,
            term: Term(1),
            leader: leader.map(NodeId),
            members: members.iter().map(member).collect(),
            ..ReplicaStatus::unformed(NodeId(1))
        }
    }

    #[test]
    fn the_leaders_address_comes_first() {
        assert_eq!(client_addresses(&status(Some(2), &[1, 2, 3]), "own:1"), ["h:2", "h:1", "h:3"]);
        assert_eq!(client_addresses(&status(None, &[1, 2, 3]), "h:2"), ["h:2", "h:1", "h:3"], "this node lives");
        assert_eq!(client_addresses(&status(None, &[]), "own:1"), ["own:1"]);
    }
}
