//! `tercet topic`.

use serde::Serialize;
use tercet_client::{Client, proto::admin::v1 as api};

use super::{
    Done,
    args::{Output, TopicCommand},
    exit::Exit,
    output, topic_type_name,
};

#[derive(Serialize)]
struct Topic {
    name: String,
    queues: u32,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Described {
    #[serde(flatten)]
    topic: Topic,
    bounds: Vec<Bounds>,
}

#[derive(Serialize)]
struct Bounds {
    queue: u32,
    first_offset: u64,
    next_offset: u64,
}

#[derive(Serialize)]
struct Created {
    name: String,
    created: bool,
}

#[derive(Serialize)]
struct Deleted {
    name: String,
    messages: u64,
}

pub(super) async fn run(client: Client, command: TopicCommand, format: Output) -> Done {
    let admin = client.admin();
    match command {
        TopicCommand::Create { name, queues, kind } => {
            let created = admin.create_topic(&name, queues.get(), kind.into()).await?;
            let sentence = if created { format!("topic {name} made") } else { format!("topic {name} exists already") };
            output::say(format, &sentence, &Created { name, created })?;
        }
        TopicCommand::Delete { name } => {
            let messages = admin.delete_topic(&name).await?;
            output::say(
                format,
                &format!("topic {name} deleted, with {messages} messages"),
                &Deleted { name, messages },
            )?;
        }
        TopicCommand::List => {
            let topics: Vec<_> = admin.list_topics().await?.into_iter().map(topic).collect();
            let rows = topics.iter().map(|topic| [topic.name.clone(), topic.queues.to_string(), topic.kind.to_owned()]);
            output::print(format, ["TOPIC", "QUEUES", "TYPE"], rows, &topics)?;
        }
        TopicCommand::Describe { name } => {
            let answer = admin.describe_topic(&name).await?;
            let described = Described {
                topic: topic(answer.topic.unwrap_or_default()),
                bounds: answer.queues.into_iter().map(bounds).collect(),
            };
            if format == Output::Table {
                let Topic { name, queues, kind } = &described.topic;
                output::say(format, &format!("topic {name}: {queues} queues, {kind}"), &())?;
            }
            let rows = described.bounds.iter().map(|bounds| {
                let messages = bounds.next_offset.saturating_sub(bounds.first_offset);
                [u64::from(bounds.queue), bounds.first_offset, bounds.next_offset, messages]
                    .map(|number| number.to_string())
            });
            output::print(format, ["QUEUE", "FIRST", "NEXT", "MESSAGES"], rows, &described)?;
        }
        TopicCommand::Route { name } => {
            let described = admin.describe_topic(&name).await?;
            let route = route(&described, &admin.cluster_status().await?);
            let rows = route.iter().map(|at| {
                let (leader, address) = (at.leader.map_or_else(dash, |id| id.to_string()), at.address.clone());
                [at.queue.to_string(), at.broker.clone(), leader, address.unwrap_or_else(dash)]
            });
            output::print(format, ["QUEUE", "BROKER", "LEADER", "ADDRESS"], rows, &route)?;
        }
    }
    Ok(Exit::DONE)
}

fn dash() -> String {
    String::from("-")
}

/// Where one queue is.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Place {
    queue: u32,
    /// The broker group, by the name that clients see.
    broker: String,
    /// The node that leads it, if one does.
    leader: Option<u64>,
    /// Where clients reach that.
    address: Option<String>,
}

fn route(topic: &api::DescribeTopicResponse, status: &api::ClusterStatusResponse) -> Vec<Place> {
    let leads = status.nodes.iter().find(|node| Some(node.node_id) == status.leader);
    let address = leads.and_then(|node| Some(node.addresses.as_ref()?.client.clone()));
    let place = |bounds: &api::QueueBounds| Place {
        queue: bounds.queue,
        broker: format!("broker-{}", status.group),
        leader: status.leader,
        address: address.clone(),
    };
    topic.queues.iter().map(place).collect()
}

fn topic(topic: api::Topic) -> Topic {
    Topic { kind: topic_type_name(topic.r#type()), name: topic.name, queues: topic.queues }
}

fn bounds(bounds: api::QueueBounds) -> Bounds {
    Bounds { queue: bounds.queue, first_offset: bounds.first_offset, next_offset: bounds.next_offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_where_the_leader_is() {
        let addresses = |client: &str| Some(api::NodeAddresses { client: client.to_owned(), ..Default::default() });
        let node = |node_id, client| api::Node { node_id, addresses: addresses(client), ..Default::default() };
        let nodes = vec![node(1, "a:1"), node(2, "b:1")];
        let status = api::ClusterStatusResponse { group: 7, leader: Some(2), nodes, ..Default::default() };
        let queues = vec![api::QueueBounds { queue: 0, ..Default::default() }];
        let topic = api::DescribeTopicResponse { topic: None, queues };
        let place = |leader: Option<u64>, address: Option<&str>| Place {
            queue: 0,
            broker: String::from("broker-7"),
            leader,
            address: address.map(str::to_owned),
        };
        assert_eq!(route(&topic, &status), [place(Some(2), Some("b:1"))]);
        let none = api::ClusterStatusResponse { leader: None, ..status };
        assert_eq!(route(&topic, &none), [place(None, None)]);
    }
}
