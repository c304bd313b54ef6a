//! A group's first receive from a topic decides where it begins (hazards 21).

use super::{Applying, Core};
use crate::model::{ConsumerGroupId, QueueId, StartPoint, TopicId};
use crate::state::consumption::Subscription;
use crate::state::fault::Fault;
use crate::state::index::{RecentBlocks, read_known_block};
use crate::state::keys;
use crate::state::store::Store;
use crate::state::topics::{Queue, Topic};
use raft_log::types::UnixMillis;

impl Core {
    /// Makes the subscription if this is the first receive. Topic and group exist.
    pub(super) fn subscribe(
        &mut self,
        group: ConsumerGroupId,
        topic: TopicId,
        applying: &mut Applying<'_>,
    ) -> Result<(), Fault> {
        if self.subscriptions.contains_key(&(topic, group)) {
            return Ok(());
        }
        let start = self.groups.get(group).expect("the caller looked it up").settings.start;
        let of = self.topics.get(topic).expect("the caller looked it up");
        let starts = starts(of, start, &self.recent, applying.store)?;
        let mut subscription = Subscription::new(topic, group, of.settings.queues);
        applying.changes.put(keys::subscription(group, topic), &[]);
        for ((queue, start), range) in (0..).map(QueueId).zip(&starts).zip(&of.queues) {
            if *start > range.first {
                subscription.set_taken(queue, *start);
                applying.changes.put(keys::taken(group, topic, queue), &start.to_le_bytes());
            }
        }
        self.subscriptions.insert((topic, group), subscription);
        self.topics_of_groups.insert((group, topic));
        self.topics.get_mut(topic).expect("looked up above").subscribe(group);
        self.note_unread_again(applying);
        Ok(())
    }
}

fn starts(topic: &Topic, start: StartPoint, recent: &RecentBlocks, store: &Store) -> Result<Vec<u64>, Fault> {
    let queues = (0..).map(QueueId).zip(&topic.queues);
    queues
        .map(|(id, queue)| match start {
            StartPoint::First => Ok(queue.first),
            StartPoint::Last => Ok(queue.next),
            StartPoint::Time(time) => first_at(recent, store, (topic.id, id), *queue, time),
        })
        .collect()
}

/// The first offset of a queue that became visible at or after `time`; its end if there is none. A binary search:
/// stamps never fall along a queue.
pub(crate) fn first_at(
    recent: &RecentBlocks,
    store: &Store,
    queue: (TopicId, QueueId),
    range: Queue,
    time: UnixMillis,
) -> Result<u64, Fault> {
    let (mut low, mut high) = (range.first, range.next);
    while low < high {
        let middle = low + (high - low) / 2;
        let block = read_known_block(recent, store, queue, middle)?;
        if block.stamp < time {
            low = block.end();
        } else {
            high = block.base.max(range.first);
        }
    }
    Ok(low)
}
