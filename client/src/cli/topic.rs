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
    }
    Ok(Exit::DONE)
}

fn topic(topic: api::Topic) -> Topic {
    Topic { kind: topic_type_name(topic.r#type()), name: topic.name, queues: topic.queues }
}

fn bounds(bounds: api::QueueBounds) -> Bounds {
    Bounds { queue: bounds.queue, first_offset: bounds.first_offset, next_offset: bounds.next_offset }
}
