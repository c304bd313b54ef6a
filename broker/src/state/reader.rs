//! What the rest of the broker sees of the state.

use std::sync::Arc;

use raft_log::types::{LogIndex, UnixMillis};

use super::command::Bootstrap;
use super::events::Events;
use super::views::{GroupView, Located, QueueBounds, QueueProgress, Ready, StateCounters, StateDigest, TopicView};
use crate::model::{ClientKey, ConsumerGroupId, QueueId, QueueOffset, TopicId};

/// Why the state could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state could not be read: {reason}")]
pub struct ReadStateError {
    /// What failed.
    pub reason: String,
}

/// A view of the state at its applied index. Clones share it; each call sees one applied index.
#[derive(Clone, Debug, Default)]
pub struct StateReader {
    events: Arc<Events>,
}

impl StateReader {
    /// The applied entry and the rolling digest there; nothing while the state is empty.
    #[must_use]
    pub fn digest(&self) -> Option<StateDigest> {
        None
    }

    /// The digest at an applied index, if it is one of the last few thousand since the process started.
    #[must_use]
    pub fn digest_at(&self, index: LogIndex) -> Option<StateDigest> {
        let _ = index;
        None
    }

    /// The state's clock: the greatest stamp applied. A new leader stamps at least this (hazards 19).
    #[must_use]
    pub fn clock(&self) -> UnixMillis {
        UnixMillis(0)
    }

    /// Identity and handle key, once bootstrapped.
    #[must_use]
    pub fn cluster(&self) -> Option<Bootstrap> {
        None
    }

    /// A topic by name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<TopicView> {
        let _ = name;
        None
    }

    /// A topic by number.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<TopicView> {
        let _ = id;
        None
    }

    /// All topics, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicView> {
        Vec::new()
    }

    /// A consumer group by name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<GroupView> {
        let _ = name;
        None
    }

    /// A consumer group by number.
    #[must_use]
    pub fn group_by_id(&self, id: ConsumerGroupId) -> Option<GroupView> {
        let _ = id;
        None
    }

    /// All consumer groups, by name.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupView> {
        Vec::new()
    }

    /// The ranges of a topic's queues, by queue; nothing for an unknown topic.
    #[must_use]
    pub fn queue_bounds(&self, topic: TopicId) -> Option<Vec<QueueBounds>> {
        let _ = topic;
        None
    }

    /// The offset of the first message stored at or after `time`; the queue's end if there is none.
    ///
    /// # Errors
    /// The store does not read.
    pub fn offset_at(
        &self,
        topic: TopicId,
        queue: QueueId,
        time: UnixMillis,
    ) -> Result<Option<QueueOffset>, ReadStateError> {
        let _ = (topic, queue, time);
        Ok(None)
    }

    /// Where the messages from `from` on lie, at most `count` of them; empty at the queue's end or for an unknown one.
    ///
    /// # Errors
    /// The store does not read.
    pub fn locate(
        &self,
        topic: TopicId,
        queue: QueueId,
        from: QueueOffset,
        count: usize,
    ) -> Result<Vec<Located>, ReadStateError> {
        let _ = (topic, queue, from, count);
        Ok(Vec::new())
    }

    /// What the group could receive of the topic at `now`.
    #[must_use]
    pub fn ready(&self, group: ConsumerGroupId, topic: TopicId, now: UnixMillis) -> Ready {
        let _ = (group, topic, now);
        Ready::default()
    }

    /// How far the group has come in each queue of the topic; nothing if it never received from it.
    #[must_use]
    pub fn progress(&self, group: ConsumerGroupId, topic: TopicId) -> Option<Vec<QueueProgress>> {
        let _ = (group, topic);
        None
    }

    /// The topics that the group has received from.
    #[must_use]
    pub fn subscriptions(&self, group: ConsumerGroupId) -> Vec<TopicId> {
        let _ = group;
        Vec::new()
    }

    /// When a deadline passes next: propose a tick then. In the past if work is left over.
    #[must_use]
    pub fn next_due(&self) -> Option<UnixMillis> {
        None
    }

    /// Clients that hold a renewed delivery whose deadline is before `before`, at most `count` of them: propose a
    /// `RenewDeliveries` for those that live.
    #[must_use]
    pub fn renewals_due(&self, before: UnixMillis, count: usize) -> Vec<ClientKey> {
        let _ = (before, count);
        Vec::new()
    }

    /// Where to wait for messages that become available.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Counters for metrics.
    #[must_use]
    pub fn counters(&self) -> StateCounters {
        StateCounters::default()
    }
}
