//! Topics as an administrator sees them.

use tercet_proto::admin::v1 as api;

/// What a topic's messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TopicType {
    /// In no particular order.
    #[default]
    Normal,
    /// In order within each message group.
    Fifo,
    /// Delivered at the time that each names. Brokers do not make such topics yet.
    Delay,
    /// Delivered once committed. Brokers do not make such topics yet.
    Transaction,
    /// Something that this client does not know.
    Unknown,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its queues are numbered from 0.
    pub queues: u32,
    /// What its messages are.
    pub topic_type: TopicType,
}

/// A topic and what its queues hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TopicDescription {
    /// The topic.
    pub topic: Topic,
    /// By queue number.
    pub queues: Vec<QueueBounds>,
}

/// The offsets of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct QueueBounds {
    /// Its number.
    pub queue: u32,
    /// Of the first message that can be read.
    pub first_offset: u64,
    /// That the next message will get; equal to the first in an empty queue.
    pub next_offset: u64,
}

impl TopicType {
    pub(super) fn to_api(self) -> api::TopicType {
        match self {
            Self::Normal => api::TopicType::Normal,
            Self::Fifo => api::TopicType::Fifo,
            Self::Delay => api::TopicType::Delay,
            Self::Transaction => api::TopicType::Transaction,
            Self::Unknown => api::TopicType::Unspecified,
        }
    }

    fn of(kind: api::TopicType) -> Self {
        match kind {
            api::TopicType::Normal => Self::Normal,
            api::TopicType::Fifo => Self::Fifo,
            api::TopicType::Delay => Self::Delay,
            api::TopicType::Transaction => Self::Transaction,
            api::TopicType::Unspecified => Self::Unknown,
        }
    }
}

impl Topic {
    pub(super) fn of(topic: api::Topic) -> Self {
        Self { topic_type: TopicType::of(topic.r#type()), name: topic.name, queues: topic.queues }
    }
}

impl TopicDescription {
    pub(super) fn of(answer: api::DescribeTopicResponse) -> Self {
        Self {
            topic: Topic::of(answer.topic.unwrap_or_default()),
            queues: answer.queues.into_iter().map(QueueBounds::of).collect(),
        }
    }
}

impl QueueBounds {
    fn of(bounds: api::QueueBounds) -> Self {
        let api::QueueBounds { queue, first_offset, next_offset } = bounds;
        Self { queue, first_offset, next_offset }
    }
}
