//! A lane goes on: when nothing of it is pending any more, the first of its tail becomes so.

use super::tails::Tails;
use super::{Applying, Core};
use crate::state::consumption::{DeliveryKey, InTail, LaneKey, Pending};
use crate::state::fault::Fault;

impl Core {
    /// If nothing is pending of a lane any more, the first of its tail becomes so.
    pub(super) fn advance_lane(
        &mut self,
        of: DeliveryKey,
        lane: LaneKey,
        applying: &mut Applying<'_>,
    ) -> Result<(), Fault> {
        let subscription = self.subscriptions.get_mut(&(of.topic, of.group)).expect("the caller read from it");
        let (store, changes, unwritten) = (applying.store, &mut *applying.changes, &mut self.unwritten_tails);
        let mut tails = Tails { store, changes, unwritten, start: self.retained.asked, expired: 0 };
        let first = tails.advance(subscription, lane)?;
        self.counters.expired_unread += tails.expired;
        if let Some(InTail { offset, message }) = first {
            let key = DeliveryKey { queue: lane.0, offset, ..of };
            self.set_pending(key, Some(Pending::waiting(message)), applying)?;
        }
        Ok(())
    }
}
