//! Sizes of a batcher.

use crate::{
    limits::{
        ADMINISTRATION_PENDING_BYTES_MAX, ENTRIES_IN_FLIGHT_MAX, ENTRY_BYTES_TARGET, KEEP_PENDING_BYTES_MAX,
        PENDING_BYTES_MAX, RECEIVE_PENDING_BYTES_MAX, SETTLE_PENDING_BYTES_MAX,
    },
    state::Class,
};

/// Sizes of a batcher.
#[derive(Clone, Copy, Debug)]
pub struct BatcherOptions {
    /// An entry that has reached this is full.
    pub entry_bytes_target: usize,
    /// Entries proposed and not answered.
    pub entries_in_flight_max: usize,
    /// Bytes of publishes that wait or are in flight.
    pub publish_bytes_max: usize,
    /// The same of what settles deliveries or keeps them alive.
    pub settle_bytes_max: usize,
}

impl Default for BatcherOptions {
    fn default() -> Self {
        BatcherOptions {
            entry_bytes_target: ENTRY_BYTES_TARGET,
            entries_in_flight_max: ENTRIES_IN_FLIGHT_MAX,
            publish_bytes_max: PENDING_BYTES_MAX,
            settle_bytes_max: SETTLE_PENDING_BYTES_MAX,
        }
    }
}

impl BatcherOptions {
    /// What commands of a class that wait or are in flight may hold.
    pub(super) fn bytes_max(&self, class: Class) -> usize {
        match class {
            Class::Settle => self.settle_bytes_max,
            Class::Deliver => RECEIVE_PENDING_BYTES_MAX,
            Class::Time | Class::Administer => ADMINISTRATION_PENDING_BYTES_MAX,
            Class::Keep => KEEP_PENDING_BYTES_MAX,
            Class::Publish => self.publish_bytes_max,
        }
    }
}
