//! What readers see: copies, taken at one applied index.

use raft_log::types::{LogIndex, UnixMillis};

use super::command::Holder;
use super::consumption::DeliveryKey;
use super::needed::Counts;
use crate::model::{
    ConsumerGroupId, GroupName, GroupSettings, MessageGroupKey, Placement, Position, QueueId, QueueOffset, TopicId,
    TopicName, TopicSettings,
};

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicView {
    /// Its number.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// What it was made as.
    pub settings: TopicSettings,
    /// Where its queues are.
    pub placement: Placement,
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// Its number.
    pub id: ConsumerGroupId,
    /// Its name.
    pub name: GroupName,
    /// What it was made as.
    pub settings: GroupSettings,
    /// Whether a first subscription made it.
    pub automatic: bool,
}

/// The range of a queue: messages have the offsets `first..next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// The queue.
    pub queue: QueueId,
    /// The first retained message.
    pub first: QueueOffset,
    /// What the next message gets.
    pub next: QueueOffset,
}

/// A message found by its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its offset.
    pub offset: QueueOffset,
    /// Where it lies.
    pub position: Position,
    /// Its message group, or none.
    pub group: MessageGroupKey,
}

/// What a group could receive of a topic now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The group has never received from the topic: a receive decides where it begins, so it must not wait for
    /// messages (hazards 21). Also if there is no such group or topic, which a receive finds out.
    pub unsubscribed: bool,
    /// Messages never picked or skipped, of any tag. A FIFO group may find some of them held back by their group.
    pub fresh: u64,
    /// Messages that are to be delivered again.
    pub redeliveries: u64,
}

impl Ready {
    /// Whether a receive is worth its command.
    #[must_use]
    pub fn any(&self) -> bool {
        self.unsubscribed || self.fresh + self.redeliveries > 0
    }
}

/// What keeps the readable start from where retention wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldBack {
    /// Where that is.
    pub(crate) to: LogIndex,
    /// What is needed of the entries before this one stands in the way.
    pub(crate) before: LogIndex,
    /// How much that is.
    pub(crate) counts: Counts,
}

/// What of a walk over all deliveries was found, and where it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holders {
    pub(crate) found: Vec<(Position, Holder)>,
    /// The next walk begins here: at the first of all, if this one has come to the end.
    pub(crate) next: DeliveryKey,
    /// Deliveries and subscriptions that were looked at.
    pub(crate) looked_at: usize,
}

/// How far a group has come in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueProgress {
    /// The queue.
    pub queue: QueueId,
    /// The consumer offset: the first message that is not done with.
    pub offset: QueueOffset,
    /// Behind the last message that was picked or skipped.
    pub taken: QueueOffset,
    /// What the queue's next message gets.
    pub end: QueueOffset,
    /// Messages before `taken` that are not done with: in flight, due again, or held back by their message group.
    pub pending: u64,
}

impl QueueProgress {
    /// Messages that the group has yet to finish.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.end.0 - self.taken.0 + self.pending
    }
}

/// The idempotent producers that are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducersView {
    /// How many, each counted once per topic.
    pub count: usize,
    /// Memory for their results.
    pub results_bytes: usize,
}

/// Counters since the process started, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounters {
    /// Messages that got an offset.
    pub messages_in: u64,
    /// Deliveries, first and again.
    pub messages_out: u64,
    /// Messages that went to dead-letter topics.
    pub dead_lettered: u64,
    /// Messages that retention took out of their queues.
    pub trimmed: u64,
    /// Messages that retention took before a group had received them, counted for each such group.
    pub expired_unread: u64,
    /// Bodies that were moved to the log's end because they were still needed, counted for each that needed one.
    pub relocated: u64,
    /// Publishes answered from the kept results.
    pub repeats: u64,
    /// Flushes of the store.
    pub flushes: u64,
    /// The state's clock.
    pub clock: UnixMillis,
}
