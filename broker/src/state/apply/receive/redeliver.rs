//! What a receive picks of what its group has taken before: single messages that are due again, and lanes of a FIFO group with what
//! waits in their tails.

use raft_log::types::LogIndex;

use super::{Look, Picking, SCAN_MAX};
use crate::model::QueueId;
use crate::state::apply::tails::Tails;
use crate::state::consumption::{FIRST_LANE, InTail, LaneKey, Pending, Subscription};
use crate::state::fault::Fault;

/// What a part of a tail that retention has taken counts for at most among what a receive looks at.
const SCANNED_BY_EXPIRED_MAX: usize = 128;

impl Picking<'_> {
    /// Picks what was taken before: lanes of a FIFO group in their order, and single messages.
    pub(super) fn redeliver(&mut self) -> Result<(), Fault> {
        let count = self.candidates_max();
        let lanes = if self.settings.fifo { self.subscription.open_lanes(count) } else { Vec::new() };
        for lane in lanes {
            if self.full() {
                return Ok(());
            }
            if self.asks_for(lane.0) {
                self.redeliver_lane(lane)?;
            }
        }
        for (queue, offset) in self.subscription.due(self.settings.fifo, count) {
            if self.full() || self.asks_for(queue) && self.redeliver_one(queue, offset)? == Look::Full {
                return Ok(());
            }
        }
        if self.settings.fifo { Ok(()) } else { self.take_tails(count) }
    }

    /// Without order, everything that waited for the sake of the order before is there to be had.
    fn take_tails(&mut self, count: usize) -> Result<(), Fault> {
        let lanes: Vec<LaneKey> = self.subscription.tailed(FIRST_LANE).map(|(lane, _)| lane).take(count).collect();
        for lane in lanes.into_iter().filter(|lane| self.receive.queue.is_none_or(|only| only == lane.0)) {
            self.take_tail(lane)?;
        }
        Ok(())
    }

    /// How many candidates can matter: without filter and queue, each one is picked or ends the receive.
    fn candidates_max(&self) -> usize {
        let all = self.wanted.is_none() && self.receive.queue.is_none();
        if all { usize::from(self.receive.messages_max).min(SCAN_MAX) } else { SCAN_MAX }
    }

    fn redeliver_lane(&mut self, lane: LaneKey) -> Result<(), Fault> {
        // One more than can be looked at: whoever gets to the end has seen all that is pending.
        let limit = self.candidates_max() + 1;
        for offset in self.subscription.lane(lane, limit) {
            if self.full() || self.redeliver_one(lane.0, offset)? == Look::Full {
                return self.advance(lane);
            }
        }
        if self.take_tail(lane)? {
            self.taken_lanes.insert(lane);
        }
        Ok(())
    }

    /// Picks what waits behind the pending messages of a lane, all of which were looked at. Says whether that was everything.
    fn take_tail(&mut self, lane: LaneKey) -> Result<bool, Fault> {
        while !self.full() && !self.subscription.is_full(lane.0) && !self.timers.is_full() {
            let first = self.take_out(self.retained.start, |of, tails| tails.pop(of, lane))?;
            let Some(InTail { offset, message }) = first else { return Ok(true) };
            if self.look(lane.0, offset, Pending::waiting(message)) == Look::Full {
                self.hand_out(lane.0, offset, Pending::waiting(message));
            }
        }
        self.advance(lane)?;
        Ok(self.subscription.tail(lane).is_none())
    }

    /// If nothing is pending of a lane any more, the first of its tail becomes so.
    fn advance(&mut self, lane: LaneKey) -> Result<(), Fault> {
        if let Some(InTail { offset, message }) =
            self.take_out(self.retained.asked, |of, tails| tails.advance(of, lane))?
        {
            self.hand_out(lane.0, offset, Pending::waiting(message));
        }
        Ok(())
    }

    /// Takes something out of a tail, if it is not older than `start`; what is, is counted.
    fn take_out(
        &mut self,
        start: LogIndex,
        take: impl FnOnce(&mut Subscription, &mut Tails<'_>) -> Result<Option<InTail>, Fault>,
    ) -> Result<Option<InTail>, Fault> {
        let (subscription, tails) = self.tails();
        let mut tails = Tails { start, ..tails };
        let first = take(subscription, &mut tails)?;
        let expired = tails.expired;
        self.expired += expired;
        // What is passed over costs reads and deletions.
        self.scanned += usize::try_from(expired).unwrap_or(usize::MAX).min(SCANNED_BY_EXPIRED_MAX);
        Ok(first)
    }

    pub(super) fn tails(&mut self) -> (&mut Subscription, Tails<'_>) {
        let (store, start) = (self.store, self.retained.start);
        let tails = Tails { store, changes: self.changes, unwritten: self.unwritten_tails, start, expired: 0 };
        (self.subscription, tails)
    }

    fn redeliver_one(&mut self, queue: QueueId, offset: u64) -> Result<Look, Fault> {
        let pending = *self.subscription.pending(queue, offset).expect("only pending messages come again");
        // A filter says what a group begins with: what was delivered once ends by an acknowledgement or as a dead letter, also where
        // the consumer that has it next filters otherwise (state-hazards 14).
        let again = pending.attempt > 0;
        let look = if again { self.offer(queue, offset, pending) } else { self.look(queue, offset, pending) };
        if look == Look::NotWanted {
            self.set(queue, offset, None);
            if !self.settings.fifo {
                self.advance((queue, pending.message.group))?;
            }
        }
        Ok(look)
    }
}
