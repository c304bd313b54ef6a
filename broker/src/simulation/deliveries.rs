//! One message as one group has seen it, and all of them.

use std::collections::{BTreeMap, BTreeSet};

use raft_log::types::LogIndex;

use crate::model::{AttemptKey, ClientKey, ConsumerGroupId, QueueId, TopicId};
use crate::state::DeliveryKey;

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// With a consumer.
    Hidden,
    /// To be delivered, again or, of a message group whose earlier messages were under way, for the first time.
    Due,
    /// No attempts are left; the next tick that comes to it buries it.
    Exhausted,
    Acknowledged,
    /// It went to the dead letters.
    Dead,
    /// Nobody came for it while retention passed it twice.
    Expired,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) attempt: u16,
    pub(super) stand: Stand,
    /// The next delivery keeps the attempt's number.
    pub(super) suspended: bool,
    /// Its body was moved while it was due.
    pub(super) moved: bool,
    pub(super) deadline: u64,
    pub(super) nonce: u64,
    /// The entry in which its body lies.
    pub(super) at: LogIndex,
    pub(super) lease: Option<(ClientKey, LogIndex)>,
    pub(super) attempt_key: AttemptKey,
}

impl Delivery {
    /// One that was never delivered, and is the next of its message group.
    pub(super) fn waiting(at: LogIndex) -> Delivery {
        Delivery {
            attempt: 0,
            stand: Stand::Due,
            suspended: false,
            moved: false,
            deadline: 0,
            nonce: 0,
            at,
            lease: None,
            attempt_key: AttemptKey::NONE,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.stand, Stand::Acknowledged | Stand::Dead | Stand::Expired)
    }

    /// Whether the others of its message group have to wait for it.
    pub(super) fn blocks(&self) -> bool {
        matches!(self.stand, Stand::Hidden | Stand::Exhausted)
    }

    /// It was moved while nobody came for it, and is not moved a second time.
    pub(super) fn ends_when_moved(&self) -> bool {
        self.stand == Stand::Due && self.moved
    }
}

/// What each group has of each message that it was given, or that is the next of its message group.
#[derive(Clone, Debug, Default)]
pub(super) struct Deliveries {
    all: BTreeMap<DeliveryKey, Delivery>,
    /// Those that are not done with: most are, and whoever looks for the others need not go over all.
    open: BTreeSet<DeliveryKey>,
}

impl Deliveries {
    pub(super) fn get(&self, key: &DeliveryKey) -> Option<&Delivery> {
        self.all.get(key)
    }

    pub(super) fn set(&mut self, key: DeliveryKey, delivery: Delivery) {
        if delivery.is_done() {
            self.open.remove(&key);
        } else {
            self.open.insert(key);
        }
        self.all.insert(key, delivery);
    }

    /// Changes one that is not done with.
    pub(super) fn change(&mut self, key: DeliveryKey, change: impl FnOnce(&mut Delivery)) {
        let mut delivery = self.all[&key].clone();
        change(&mut delivery);
        self.set(key, delivery);
    }

    /// What is not done with.
    pub(super) fn open(&self) -> impl Iterator<Item = (DeliveryKey, &Delivery)> {
        self.open.iter().map(|key| (*key, &self.all[key]))
    }

    /// What a group has of a topic and is not done with.
    pub(super) fn open_of(
        &self,
        topic: TopicId,
        group: ConsumerGroupId,
    ) -> impl Iterator<Item = (DeliveryKey, &Delivery)> {
        let first = DeliveryKey { topic, group, queue: QueueId(0), offset: 0 };
        let of = move |key: &&DeliveryKey| (key.topic, key.group) == (topic, group);
        self.open.range(first..).take_while(of).map(|key| (*key, &self.all[key]))
    }
}
