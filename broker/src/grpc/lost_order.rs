//! Which groups read a topic without its order, as far as the operator was told.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use crate::model::{ConsumerGroupId, TopicId};

/// Groups and topics whose lost order is told to the operator; beyond it nothing new is.
const WARNINGS_MAX: usize = 1000;

/// What the operator was told.
#[derive(Debug, Default)]
pub struct LostOrder {
    told: Mutex<BTreeSet<(ConsumerGroupId, TopicId)>>,
}

impl LostOrder {
    /// Whether it is to be told now: once in the life of a process.
    pub(super) fn is_news(&self, group: ConsumerGroupId, topic: TopicId) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < WARNINGS_MAX && told.insert((group, topic))
    }
}
