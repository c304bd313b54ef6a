//! How many messages went to the dead letters, for the metric: from `apply` to whoever counts.
//!
//! Every node applies, and one of them is to count: the one that led when the entry was proposed, which the entry's term says.
//! So the tally is kept by term. No part of the state: a restart forgets it, like every counter of a process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use raft_log::types::Term;
use tokio::sync::Notify;

use crate::model::{ConsumerGroupId, TopicId};

/// Messages by the term of the entry, the topic that the group had them from, and the group.
pub type DeadLettered = BTreeMap<(Term, TopicId, ConsumerGroupId), u64>;

/// Dead letters since they were last taken. For one consumer. Bounded by the groups and their topics.
#[derive(Debug, Default)]
pub struct DeadLetterTally {
    counts: Mutex<DeadLettered>,
    wake: Notify,
}

impl DeadLetterTally {
    /// Waits until there are some, and takes them all. Cancelling it loses nothing.
    pub async fn taken(&self) -> DeadLettered {
        loop {
            let counts = std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
            if !counts.is_empty() {
                return counts;
            }
            self.wake.notified().await;
        }
    }

    pub(crate) fn add(&self, new: DeadLettered) {
        if new.is_empty() {
            return;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, messages) in new {
            *counts.entry(key).or_default() += messages;
        }
        drop(counts);
        self.wake.notify_one();
    }
}
