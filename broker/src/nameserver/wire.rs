//! Registrations as they travel, and as values that are known to be valid.

use raft_log::{
    NodeAddresses,
    types::{ClusterId, GroupId, NodeId, Term},
};
use tercet_proto::nameserver::v1 as pb;

use super::routes::{BrokerKey, GroupRoute, Registration, Role, Topic};
use crate::model::TopicType;

/// Longest topic name.
const TOPIC_NAME_BYTES_MAX: usize = 127;
/// Most queues of a topic in one group.
const QUEUES_MAX: u32 = 1 << 20;

/// A heartbeat from the wire.
pub(super) fn registration(request: pb::RegisterRequest) -> Result<Registration, String> {
    let broker = request.broker.ok_or("broker is absent")?;
    let addresses = broker.addresses.ok_or("broker.addresses is absent")?;
    let role = match pb::BrokerRole::try_from(broker.role) {
        Ok(pb::BrokerRole::Leader) => Role::Leader,
        Ok(pb::BrokerRole::Follower) => Role::Follower,
        Ok(pb::BrokerRole::Learner) => Role::Learner,
        Ok(pb::BrokerRole::Unspecified) | Err(_) => return Err(format!("broker.role {} is unknown", broker.role)),
    };
    for (name, address) in [("client", &addresses.client), ("peer", &addresses.peer), ("http", &addresses.http)] {
        let form: Result<crate::config::HostPort, _> = address.parse();
        form.map_err(|error| format!("broker.addresses.{name}: {error}"))?;
    }
    Ok(Registration {
        key: BrokerKey {
            cluster: cluster_id(&broker.cluster_id)?,
            group: GroupId(broker.group),
            node: NodeId(broker.node_id),
        },
        addresses: NodeAddresses { peer: addresses.peer, client: addresses.client, http: addresses.http },
        role,
        term: Term(broker.term),
        topics: request.topics.into_iter().map(topic).collect::<Result<_, _>>()?,
    })
}

fn cluster_id(text: &str) -> Result<ClusterId, String> {
    let parsed = (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten();
    parsed.map(ClusterId).ok_or_else(|| format!("broker.cluster_id `{text}` is not 32 hexadecimal digits"))
}

fn topic(topic: pb::TopicQueues) -> Result<Topic, String> {
    if topic.name.is_empty() || topic.name.len() > TOPIC_NAME_BYTES_MAX {
        return Err(format!("a topic's name must have 1 to {TOPIC_NAME_BYTES_MAX} bytes, `{}` has not", topic.name));
    }
    if !(1..=QUEUES_MAX).contains(&topic.queues) {
        return Err(format!("topic {} has {} queues", topic.name, topic.queues));
    }
    let kind = match pb::TopicType::try_from(topic.r#type) {
        Ok(pb::TopicType::Normal) => TopicType::Normal,
        Ok(pb::TopicType::Fifo) => TopicType::Fifo,
        Ok(pb::TopicType::Delay) => TopicType::Delay,
        Ok(pb::TopicType::Transaction) => TopicType::Transaction,
        Ok(pb::TopicType::Unspecified) | Err(_) => {
            return Err(format!("topic {} has the unknown type {}", topic.name, topic.r#type));
        }
    };
    Ok(Topic { name: topic.name, queues: topic.queues, kind })
}

/// A node for the wire.
pub(super) fn broker(registration: &Registration) -> pb::Broker {
    let role = match registration.role {
        Role::Leader => pb::BrokerRole::Leader,
        Role::Follower => pb::BrokerRole::Follower,
        Role::Learner => pb::BrokerRole::Learner,
    };
    pb::Broker {
        cluster_id: registration.key.cluster.to_string(),
        group: registration.key.group.0,
        node_id: registration.key.node.0,
        addresses: Some(pb::Addresses {
            client: registration.addresses.client.clone(),
            peer: registration.addresses.peer.clone(),
            http: registration.addresses.http.clone(),
        }),
        role: role.into(),
        term: registration.term.0,
    }
}

/// A topic for the wire.
pub(super) fn topic_queues(topic: &Topic) -> pb::TopicQueues {
    let kind = match topic.kind {
        TopicType::Normal => pb::TopicType::Normal,
        TopicType::Fifo => pb::TopicType::Fifo,
        TopicType::Delay => pb::TopicType::Delay,
        TopicType::Transaction => pb::TopicType::Transaction,
    };
    pb::TopicQueues { name: topic.name.clone(), queues: topic.queues, r#type: kind.into() }
}

/// A heartbeat for the wire.
pub(super) fn register_request(registration: &Registration, leaving: bool) -> pb::RegisterRequest {
    pb::RegisterRequest {
        broker: Some(broker(registration)),
        topics: registration.topics.iter().map(topic_queues).collect(),
        leaving,
    }
}

/// A route for the wire.
pub(super) fn group_route(route: &GroupRoute<'_>) -> pb::GroupRoute {
    pb::GroupRoute {
        broker_name: format!("broker-{}", route.group),
        topic: Some(topic_queues(route.topic)),
        nodes: route.nodes.iter().map(|node| broker(node)).collect(),
    }
}
