//! `tercet topic`.

use serde::Serialize;
use tercet_client::{Client, ClusterStatus, QueueBounds, Topic as ApiTopic, TopicDescription, TopicType};

use super::{
    args::{Format, TopicCommand},
    exit::{Done, Exit},
    output,
};

fn topic_type_name(kind: TopicType) -> &'static str {
    match kind {
        TopicType::Fifo => "fifo",
        TopicType::Delay => "delay",
        TopicType::Transaction => "transaction",
        TopicType::Normal => "normal",
        _ => "unknown",
    }
}

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

pub(super) async fn run(client: Client, command: TopicCommand, format: Format) -> Done {
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
            let described =
                Described { topic: topic(answer.topic), bounds: answer.queues.into_iter().map(bounds).collect() };
            if format == Format::Table {
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

fn route(topic: &TopicDescription, status: &ClusterStatus) -> Vec<Place> {
    let leads = status.nodes.iter().find(|node| Some(node.id) == status.leader);
    let place = |queue: u32| Place {
        queue,
        broker: format!("broker-{}", status.broker_group),
        leader: status.leader,
        address: leads.map(|node| node.addresses.client.clone()),
    };
    topic.queues.iter().map(|bounds| place(bounds.queue)).collect()
}

fn topic(topic: ApiTopic) -> Topic {
    Topic { kind: topic_type_name(topic.topic_type), name: topic.name, queues: topic.queues }
}

fn bounds(bounds: QueueBounds) -> Bounds {
    Bounds { queue: bounds.queue, first_offset: bounds.first_offset, next_offset: bounds.next_offset }
}

#[cfg(test)]
mod tests {
    use tercet_client::{BrokerGroup, Node, NodeAddresses};

    use super::*;

    #[test]
    fn queues_are_where_the_leader_is() {
        let node = |id, client: &str| {
            let mut node = Node::default();
            (node.id, node.addresses) = (id, NodeAddresses::new().client(client));
            node
        };
        let mut status = ClusterStatus::default();
        (status.broker_group, status.leader) = (BrokerGroup(7), Some(2));
        status.nodes = vec![node(1, "a:1"), node(2, "b:1")];
        let mut topic = TopicDescription::default();
        topic.queues = vec![QueueBounds::default()];
        let place = |leader: Option<u64>, address: Option<&str>| Place {
            queue: 0,
            broker: String::from("broker-7"),
            leader,
            address: address.map(str::to_owned),
        };
        assert_eq!(route(&topic, &status), [place(Some(2), Some("b:1"))]);
        status.leader = None;
        assert_eq!(route(&topic, &status), [place(None, None)]);
    }
}
