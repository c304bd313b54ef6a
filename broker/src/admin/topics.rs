//! CreateTopic, DeleteTopic, ListTopics, DescribeTopic.

use std::sync::Arc;

use tercet_proto::{
    admin::v1::{
        CreateTopicRequest, CreateTopicResponse, DeleteTopicRequest, DeleteTopicResponse, DescribeTopicRequest,
        DescribeTopicResponse, ListTopicsRequest, ListTopicsResponse, QueueBounds,
    },
    rocketmq::v2::Resource,
};
use tonic::{Status, metadata::MetadataMap};

use super::{
    at_leader::{status_of, up_to_date},
    convert,
};
use crate::{
    grpc::{Node, names},
    model::TopicName,
    state::{self, CreateTopic, Created, DeleteTopic, Deleted, Outcome},
};

pub(super) async fn create(
    node: Arc<Node>,
    _: MetadataMap,
    request: CreateTopicRequest,
) -> Result<CreateTopicResponse, Status> {
    let name = parse(&request.name)?;
    let settings = convert::topic_settings(&request)?;
    let command = CreateTopic { name: name.clone(), settings }.encode();
    let created = match node.batcher.submit(command).await.map_err(status_of)? {
        Outcome::Topic(created) => created,
        other => panic!("a creation was answered by {other:?}"),
    };
    match created {
        Created::New(_) => tracing::info!(topic = %name, ?settings, "a topic was made"),
        Created::Same(_) => {}
        Created::Other(_, there) => {
            let why = format!("topic {name} exists with other settings: {} queues, {:?}", there.queues, there.kind);
            return Err(Status::already_exists(why));
        }
        Created::Unformed => {
            return Err(Status::unavailable(
                "the group has not applied its first command; nothing was done, try again",
            ));
        }
        Created::Refused | Created::Buried => {
            let why = format!("topic {name}: {} queues are too many, or there are too many topics", settings.queues);
            return Err(Status::invalid_argument(why));
        }
    }
    let topic = Some(convert::topic(&name, settings));
    Ok(CreateTopicResponse { topic, created: matches!(created, Created::New(_)) })
}

pub(super) async fn delete(
    node: Arc<Node>,
    _: MetadataMap,
    request: DeleteTopicRequest,
) -> Result<DeleteTopicResponse, Status> {
    let name = parse(&request.name)?;
    up_to_date(&node).await?;
    let unknown = || Status::not_found(format!("topic {name} does not exist"));
    let topic = node.state.topic(name.as_str()).ok_or_else(unknown)?;
    let bounds = node.state.queue_bounds(topic.id).ok_or_else(unknown)?;
    let messages = bounds.iter().map(|bounds| bounds.next.0 - bounds.first.0).sum();
    match node.batcher.submit(DeleteTopic { topic: topic.id }.encode()).await.map_err(status_of)? {
        Outcome::Deleted(Deleted::Done) => {
            tracing::info!(topic = %name, id = %topic.id, messages, "a topic was deleted");
            Ok(DeleteTopicResponse { messages })
        }
        Outcome::Deleted(_) => Err(unknown()),
        other => panic!("a deletion was answered by {other:?}"),
    }
}

pub(super) async fn list(node: Arc<Node>, _: MetadataMap, _: ListTopicsRequest) -> Result<ListTopicsResponse, Status> {
    up_to_date(&node).await?;
    let topics = node.state.topics().iter().map(|topic| convert::topic(&topic.name, topic.settings)).collect();
    Ok(ListTopicsResponse { topics })
}

pub(super) async fn describe(
    node: Arc<Node>,
    _: MetadataMap,
    request: DescribeTopicRequest,
) -> Result<DescribeTopicResponse, Status> {
    let name = parse(&request.name)?;
    up_to_date(&node).await?;
    let unknown = || Status::not_found(format!("topic {name} does not exist"));
    let topic = node.state.topic(name.as_str()).ok_or_else(unknown)?;
    let bounds = node.state.queue_bounds(topic.id).ok_or_else(unknown)?;
    let wire = |bounds: &state::QueueBounds| QueueBounds {
        queue: bounds.queue.0,
        first_offset: bounds.first.0,
        next_offset: bounds.next.0,
    };
    let topic = Some(convert::topic(&topic.name, topic.settings));
    Ok(DescribeTopicResponse { topic, queues: bounds.iter().map(wire).collect() })
}

fn parse(name: &str) -> Result<TopicName, Status> {
    let resource = Resource { resource_namespace: String::new(), name: name.to_owned() };
    names::topic(Some(&resource)).map_err(|refusal| Status::invalid_argument(format!("name: {}", refusal.message)))
}
