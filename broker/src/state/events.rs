//! "Something became available": the signal from `apply` to the leader's long polls.
//!
//! A set of topic ids, not a queue of events: however many messages arrive while nobody looks, a topic stands in it
//! once, so it is bounded by the number of topics and costs the publish path one insert per (entry, topic). Events say
//! "look again", never "there is one for you"; a spurious one is harmless.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, watch};

use crate::model::TopicId;

/// Topics in which something became available since they were last taken. For one consumer, the dispatcher of parked
/// receives.
#[derive(Debug, Default)]
pub struct Events {
    topics: Mutex<BTreeSet<TopicId>>,
    wake: Notify,
    erase: Notify,
    catalog: watch::Sender<u64>,
}

impl Events {
    /// Waits until there is at least one topic, and takes them all. Cancelling it loses nothing.
    pub async fn changed(&self) -> BTreeSet<TopicId> {
        loop {
            let topics = std::mem::take(&mut *self.topics.lock().unwrap_or_else(PoisonError::into_inner));
            if !topics.is_empty() {
                return topics;
            }
            self.wake.notified().await;
        }
    }

    /// Waits until an entry was applied behind which something is deleted and not erased yet. For one caller.
    pub async fn erasing(&self) {
        self.erase.notified().await;
    }

    /// Each change by which somebody who knows a topic or a consumer group knows wrong things of it: deletions, other settings.
    pub fn catalog(&self) -> watch::Receiver<u64> {
        self.catalog.subscribe()
    }

    /// `changes` is how many there were so far.
    pub(crate) fn signal_catalog(&self, changes: u64) {
        self.catalog.send_if_modified(|told| std::mem::replace(told, changes) != changes);
    }

    pub(crate) fn signal_erasing(&self) {
        self.erase.notify_one();
    }

    pub(crate) fn signal(&self, topics: &mut BTreeSet<TopicId>) {
        if topics.is_empty() {
            return;
        }
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).append(topics);
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn topics_wait_until_they_are_taken() {
        let events = Events::default();
        events.signal(&mut [TopicId(2), TopicId(1)].into());
        events.signal(&mut [TopicId(2)].into());
        assert_eq!(events.changed().await, [TopicId(1), TopicId(2)].into());
        let (topics, ()) = tokio::join!(events.changed(), async { events.signal(&mut [TopicId(3)].into()) });
        assert_eq!(topics, [TopicId(3)].into());
    }

    #[tokio::test]
    async fn a_change_of_the_catalog_is_told_once_to_each() {
        let events = Events::default();
        let mut one = events.catalog();
        events.signal_catalog(0);
        assert!(!one.has_changed().expect("it lives"));
        events.signal_catalog(2);
        events.signal_catalog(2);
        let mut other = events.catalog();
        assert!(one.has_changed().expect("it lives") && !other.has_changed().expect("it lives"));
        one.mark_unchanged();
        events.signal_catalog(3);
        assert!(one.changed().await.is_ok() && other.changed().await.is_ok());
    }
}
