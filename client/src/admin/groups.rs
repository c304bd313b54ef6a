//! Consumer groups as an administrator sees them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tercet_proto::admin::v1::{
    self as api,
    start_position::{Position, Unit},
};

/// Where a new consumer group begins in a topic that it reads for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// At the first retained message.
    #[default]
    First,
    /// Behind the last message.
    Last,
    /// At the first message stored at or after this time, to the millisecond; times before 1970 are 1970.
    At(SystemTime),
}

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ConsumerGroup {
    /// Its name.
    pub name: String,
    /// Deliveries keep the order within each message group.
    pub fifo: bool,
    /// Deliveries of a message before it goes to the dead-letter queue, the first one counted.
    pub max_attempts: u32,
    /// Where it begins.
    pub start: Start,
}

/// Settings of a consumer group to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupSettings {
    fifo: bool,
    max_attempts: Option<u32>,
    start: Start,
}

/// What becomes different of a consumer group's settings; the rest stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupChange {
    fifo: Option<bool>,
    max_attempts: Option<u32>,
    start: Option<Start>,
}

/// A consumer group, who consumes it, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GroupDescription {
    /// Its settings.
    pub group: ConsumerGroup,
    /// A first subscription made it, so it goes by itself when nobody uses it.
    pub automatic: bool,
    /// Clients with a stream to the leader; of very many, some. Who only polls is not among them, nor who is connected to
    /// another node.
    pub consumers: Vec<GroupConsumer>,
    /// How many of them there are.
    pub consumer_count: u32,
    /// The topic with its dead letters, if there are any.
    pub dead_letter_topic: Option<String>,
    /// Messages in it.
    pub dead_letters: u64,
    /// By topic and queue. Each is of one moment, and not all of the same one.
    pub queues: Vec<QueueProgress>,
}

/// A client that consumes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GroupConsumer {
    /// As it calls itself.
    pub client_id: String,
    /// Its open streams for the group.
    pub streams: u32,
}

/// How far a group has come in a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct QueueProgress {
    /// The topic.
    pub topic: String,
    /// The number of the queue.
    pub queue: u32,
    /// Of the first message that can be read.
    pub first_offset: u64,
    /// Of the first message that the group has not finished.
    pub consumer_offset: u64,
    /// Behind the last message that the group has taken.
    pub taken_offset: u64,
    /// That the queue's next message will get.
    pub next_offset: u64,
    /// Messages that nobody of the group holds: not taken, due again, or waiting behind one of their message group.
    pub ready: u64,
    /// Those of them that were delivered before and are due again.
    pub redeliveries: u64,
    /// Messages that consumers hold and have not acknowledged.
    pub in_flight: u64,
    /// The age of the oldest message that the group has not finished and the queue still has.
    pub oldest: Option<Duration>,
}

/// What is left of a consumer group that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeletedGroup {
    /// The topic with its dead letters, if it had any; gone as well if that was asked for.
    pub dead_letter_topic: Option<String>,
    /// For so long no consumer makes a group of this name by itself.
    pub refused_for: Duration,
}

impl GroupSettings {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether deliveries keep the order within each message group. Default: no.
    #[must_use]
    pub fn fifo(mut self, fifo: bool) -> Self {
        self.fifo = fifo;
        self
    }

    /// Deliveries of a message before it goes to the dead-letter queue, at least 1. Default: the broker's, 17.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Where it begins. Default: at the first message.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    pub(super) fn request(self, name: &str) -> api::CreateGroupRequest {
        api::CreateGroupRequest {
            name: name.to_owned(),
            fifo: self.fifo,
            max_attempts: self.max_attempts.unwrap_or(0),
            start: Some(self.start.to_api()),
            topics: Vec::new(),
        }
    }
}

impl GroupChange {
    /// No change.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether deliveries keep the order within each message group.
    #[must_use]
    pub fn fifo(mut self, fifo: bool) -> Self {
        self.fifo = Some(fifo);
        self
    }

    /// Deliveries of a message before it goes to the dead-letter queue, at least 1; counts for deliveries that end from now on.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Where the group begins in topics that it has not read before.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = Some(start);
        self
    }

    pub(super) fn request(self, name: &str) -> api::UpdateGroupRequest {
        api::UpdateGroupRequest {
            name: name.to_owned(),
            fifo: self.fifo,
            max_attempts: self.max_attempts,
            start: self.start.map(Start::to_api),
        }
    }
}

impl Start {
    fn to_api(self) -> api::StartPosition {
        let position = match self {
            Self::First => Position::First(Unit {}),
            Self::Last => Position::Last(Unit {}),
            Self::At(time) => {
                let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
                Position::UnixMillis(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
            }
        };
        api::StartPosition { position: Some(position) }
    }

    fn of(start: Option<api::StartPosition>) -> Self {
        match start.and_then(|start| start.position) {
            None | Some(Position::First(_)) => Self::First,
            Some(Position::Last(_)) => Self::Last,
            Some(Position::UnixMillis(time)) => Self::At(UNIX_EPOCH + Duration::from_millis(time)),
        }
    }
}

impl ConsumerGroup {
    pub(super) fn of(group: api::ConsumerGroup) -> Self {
        let api::ConsumerGroup { name, fifo, max_attempts, start } = group;
        Self { name, fifo, max_attempts, start: Start::of(start) }
    }
}

impl GroupDescription {
    pub(super) fn of(answer: api::DescribeGroupResponse) -> Self {
        let now = answer.now_unix_millis;
        let consumer = |of: api::GroupConsumer| GroupConsumer { client_id: of.client_id, streams: of.streams };
        Self {
            group: ConsumerGroup::of(answer.group.unwrap_or_default()),
            automatic: answer.automatic,
            consumers: answer.consumers.into_iter().map(consumer).collect(),
            consumer_count: answer.consumer_count,
            dead_letter_topic: (!answer.dead_letter_topic.is_empty()).then_some(answer.dead_letter_topic),
            dead_letters: answer.dead_letters,
            queues: answer.queues.into_iter().map(|of| QueueProgress::of(of, now)).collect(),
        }
    }
}

impl QueueProgress {
    /// What the group has yet to finish.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.ready + self.in_flight
    }

    /// As of `now`, by the leader's clock, in milliseconds since 1970.
    fn of(progress: api::QueueProgress, now: u64) -> Self {
        // Clocks differ.
        let age = |oldest: u64| Duration::from_millis(now.saturating_sub(oldest));
        Self {
            topic: progress.topic,
            queue: progress.queue,
            first_offset: progress.first_offset,
            consumer_offset: progress.consumer_offset,
            taken_offset: progress.taken_offset,
            next_offset: progress.next_offset,
            ready: progress.ready,
            redeliveries: progress.redeliveries,
            in_flight: progress.in_flight,
            oldest: progress.oldest_unix_millis.map(age),
        }
    }
}

impl DeletedGroup {
    pub(super) fn of(answer: api::DeleteGroupResponse) -> Self {
        let api::DeleteGroupResponse { dead_letter_topic, refused_for_millis } = answer;
        Self {
            dead_letter_topic: (!dead_letter_topic.is_empty()).then_some(dead_letter_topic),
            refused_for: Duration::from_millis(refused_for_millis),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_message_has_an_age_also_when_clocks_differ() {
        let progress =
            api::QueueProgress { oldest_unix_millis: Some(4000), ready: 3, in_flight: 2, ..Default::default() };
        let at = |now| QueueProgress::of(progress.clone(), now);
        assert_eq!((at(7000).oldest, at(7000).lag()), (Some(Duration::from_secs(3)), 5));
        assert_eq!(at(0).oldest, Some(Duration::ZERO));
    }

    #[test]
    fn a_start_comes_back_as_it_was_said() {
        let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        for start in [Start::First, Start::Last, Start::At(time), Start::At(UNIX_EPOCH)] {
            assert_eq!(Start::of(Some(start.to_api())), start);
        }
        assert_eq!(Start::of(None), Start::First);
        let before = Start::At(UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(Start::of(Some(before.to_api())), Start::At(UNIX_EPOCH));
        let far = api::StartPosition { position: Some(Position::UnixMillis(u64::MAX)) };
        assert_eq!(Start::of(Some(far)).to_api(), far);
    }
}
