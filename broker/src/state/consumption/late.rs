//! Records of pending messages reach the store late, and most of them never: a delivery that is acknowledged soon costs the store
//! nothing.
//!
//! ```text
//!   set ─► in memory ─► 16,384 others later, or at a flush: a record in the store ─► done with: the record is deleted
//!               └─► done with: nothing
//! ```
//! Nothing of the store survives a crash before a flush anyway, and before a flush all records are written; so what a restart
//! finds is the same. The digest takes a record in when it is made, whenever it is written.

use std::collections::VecDeque;

use super::pending::{DeliveryKey, Pending};
use crate::state::changes::Changes;
use crate::state::keys;

/// Records that are held back; writing all of them takes some milliseconds.
pub(crate) const LATE_MAX: usize = if cfg!(test) { 3 } else { 16_384 };

/// How the record of a pending message stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordState {
    /// The store has one, perhaps an older one.
    pub(super) stored: bool,
    /// It is to be written.
    pub(super) late: bool,
}

/// Keys of the records to be written, those that have waited longest first. Some are done with by now.
#[derive(Debug, Default)]
pub(crate) struct LateRecords {
    keys: VecDeque<DeliveryKey>,
    record: Vec<u8>,
}

impl LateRecords {
    /// A message is pending in this way now, or done with; `before` says how its record stood.
    pub(crate) fn note(&mut self, key: DeliveryKey, now: Option<&Pending>, before: RecordState, changes: &mut Changes) {
        match now {
            Some(pending) => {
                pending.encode(&mut self.record);
                changes.put_later(record_key(key), &self.record);
                if !before.late {
                    self.keys.push_back(key);
                }
            }
            None => changes.delete_if(record_key(key), before.stored),
        }
    }

    /// The next whose record is to be written, while there are more than `left`.
    pub(crate) fn pop(&mut self, left: usize) -> Option<DeliveryKey> {
        if self.keys.len() > left { self.keys.pop_front() } else { None }
    }

    /// Writes the record of a message that is still pending.
    pub(crate) fn write(&mut self, key: DeliveryKey, pending: &Pending, changes: &mut Changes) {
        pending.encode(&mut self.record);
        changes.put_now(record_key(key), &self.record);
    }
}

fn record_key(key: DeliveryKey) -> keys::Key {
    keys::pending(key.group, key.topic, key.queue, key.offset)
}
