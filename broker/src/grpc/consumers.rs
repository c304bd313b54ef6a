//! Which clients have a stream to this node for a consumer group, by the names that they give themselves. For people who ask
//! who consumes; nothing is decided by it.
//!
//! Bounded by the streams, each of which stands here once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::model::GroupName;

type Streams = BTreeMap<(GroupName, String), u32>;

/// The clients of one node. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Consumers {
    joined: Arc<Mutex<Streams>>,
}

/// One client of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// As it calls itself.
    pub client_id: String,
    /// Its streams.
    pub streams: u32,
}

/// A stream of a consumer, for as long as this value is kept.
#[derive(Debug)]
pub struct Joined {
    consumers: Consumers,
    of: (GroupName, String),
}

impl Consumers {
    /// A stream of this client is for the group.
    #[must_use]
    pub fn join(&self, group: &GroupName, client_id: &str) -> Joined {
        let of = (group.clone(), client_id.to_owned());
        *self.lock().entry(of.clone()).or_insert(0) += 1;
        Joined { consumers: self.clone(), of }
    }

    /// The first clients of a group in the order of their names, and how many there are.
    #[must_use]
    pub fn of(&self, group: &GroupName, count: usize) -> (Vec<Consumer>, usize) {
        let joined = self.lock();
        let mut of_group = joined.range((group.clone(), String::new())..).take_while(|((of, _), _)| of == group);
        let consumer = |((_, client_id), streams): (&(GroupName, String), &u32)| Consumer {
            client_id: client_id.clone(),
            streams: *streams,
        };
        let first: Vec<Consumer> = of_group.by_ref().take(count).map(consumer).collect();
        let all = first.len() + of_group.count();
        (first, all)
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let mut joined = self.consumers.lock();
        if let Some(streams) = joined.get_mut(&self.of) {
            *streams -= 1;
            if *streams == 0 {
                joined.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_there_while_it_has_a_stream() {
        let consumers = Consumers::default();
        let [billing, audit] = ["billing", "audit"].map(|name| GroupName::parse(name).unwrap());
        let (one, again) = (consumers.join(&billing, "b"), consumers.join(&billing, "b"));
        let others = [consumers.join(&billing, "a"), consumers.join(&audit, "c")];
        let consumer = |client_id: &str, streams| Consumer { client_id: client_id.to_owned(), streams };
        assert_eq!(consumers.of(&billing, 9), (vec![consumer("a", 1), consumer("b", 2)], 2));
        assert_eq!(consumers.of(&billing, 1), (vec![consumer("a", 1)], 2));
        drop((one, others));
        assert_eq!(consumers.of(&billing, 9), (vec![consumer("b", 1)], 1));
        drop(again);
        assert!(consumers.lock().is_empty());
    }
}
