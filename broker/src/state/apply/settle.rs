//! Ack, change and renew: what becomes of deliveries.

use raft_log::types::UnixMillis;

use super::{Applying, Core};
use crate::model::{ConsumerGroupId, TopicId};
use crate::state::command::{Ack, AckEntry, ChangeInvisible, DeadLetter, RenewLeases};
use crate::state::consumption::{DeliveryKey, Pending, Phase, Subscription};
use crate::state::fault::Fault;
use crate::state::outcome::{Outcome, Settled};
use crate::state::planted::{self, Bug};

impl Core {
    pub(super) fn ack(&mut self, ack: &Ack, applying: &mut Applying<'_>) -> Result<Outcome, Fault> {
        if let Some(unknown) = self.unknown(ack.topic, ack.group) {
            return Ok(Outcome::Unknown(unknown));
        }
        let settle = |entry: &AckEntry| self.ack_one(ack.group, ack.topic, entry, applying);
        Ok(Outcome::Acked(ack.entries.iter().map(settle).collect::<Result<_, _>>()?))
    }

    fn ack_one(
        &mut self,
        group: ConsumerGroupId,
        topic: TopicId,
        entry: &AckEntry,
        applying: &mut Applying<'_>,
    ) -> Result<Settled, Fault> {
        let fifo = self.groups.get(group).is_some_and(|group| group.settings.fifo);
        let Some(subscription) = self.subscriptions.get(&(topic, group)) else { return Ok(Settled::Unknown) };
        if let Err(why) = live_delivery(subscription, entry, self.clock) {
            return Ok(why);
        }
        let was_full = subscription.is_full(entry.queue);
        let before = subscription.redeliveries(fifo);
        let key = subscription.key(entry.queue, entry.offset.0);
        self.set_pending(key, None, applying)?;
        if was_full || self.subscriptions[&(topic, group)].redeliveries(fifo) > before {
            // Room for fresh messages, or a message group that waited for this one.
            applying.available.insert(topic);
        }
        self.groups.note_acknowledged(group, applying.changes);
        Ok(Settled::Done)
    }

    pub(super) fn change_invisible(
        &mut self,
        change: &ChangeInvisible,
        applying: &mut Applying<'_>,
    ) -> Result<Outcome, Fault> {
        if let Some(unknown) = self.unknown(change.topic, change.group) {
            return Ok(Outcome::Unknown(unknown));
        }
        let clock = self.clock;
        let Some(subscription) = self.subscriptions.get(&(change.topic, change.group)) else {
            return Ok(Outcome::Changed(Err(Settled::Unknown)));
        };
        let mut pending = match live_delivery(subscription, &change.entry, clock) {
            Ok(pending) => pending,
            Err(why) => return Ok(Outcome::Changed(Err(why))),
        };
        pending.deadline = UnixMillis(clock.0.saturating_add(change.invisible_ms));
        pending.suspended = change.suspend;
        // Whoever sets a deadline takes the message off its lease.
        pending.lease = pending.lease.filter(|_| planted::is(Bug::LeaseStays));
        let key = subscription.key(change.entry.queue, change.entry.offset.0);
        if change.invisible_ms == 0 {
            self.give_back(key, pending, applying)?;
        } else {
            self.keep_hidden(key, pending, applying)?;
        }
        Ok(Outcome::Changed(Ok(pending.deadline)))
    }

    /// Dead-letters what a consumer gives up.
    pub(super) fn give_up(&mut self, command: &DeadLetter, applying: &mut Applying<'_>) -> Result<Outcome, Fault> {
        let DeadLetter { group, topic, entry } = command;
        if let Some(unknown) = self.unknown(*topic, *group) {
            return Ok(Outcome::Unknown(unknown));
        }
        let Some(subscription) = self.subscriptions.get(&(*topic, *group)) else {
            return Ok(Outcome::DeadLettered(Settled::Unknown));
        };
        if let Err(why) = live_delivery(subscription, entry, self.clock) {
            return Ok(Outcome::DeadLettered(why));
        }
        let key = subscription.key(entry.queue, entry.offset.0);
        self.dead_letter(key, applying)?;
        Ok(Outcome::DeadLettered(Settled::Done))
    }

    pub(super) fn renew_leases(&mut self, renew: &RenewLeases, applying: &mut Applying<'_>) -> Outcome {
        let deadline = UnixMillis(self.clock.0.saturating_add(renew.invisible_ms));
        let mut renewed = 0;
        for client in &renew.clients {
            let (Some(lease), Some(before)) = (self.leases.of(*client), self.leases.deadline(*client)) else {
                continue;
            };
            if self.timers.on_lease(lease).is_none() {
                self.leases.remove(*client, applying.changes);
            } else if if renew.shorten { deadline < before } else { deadline > before } {
                self.leases.set(lease, deadline, applying.changes);
                renewed += 1;
            }
        }
        Outcome::Renewed(renewed)
    }

    /// Sets a hidden message's deadline.
    fn keep_hidden(&mut self, key: DeliveryKey, pending: Pending, applying: &mut Applying<'_>) -> Result<(), Fault> {
        assert_eq!(pending.phase, Phase::Hidden, "only a hidden message has a deadline to change");
        self.set_pending(key, Some(pending), applying)
    }

    /// Makes a message pending in this way, or done with, in memory and in the store; the next of its message group follows.
    /// The caller read it.
    pub(super) fn set_pending(
        &mut self,
        key: DeliveryKey,
        now: Option<Pending>,
        applying: &mut Applying<'_>,
    ) -> Result<(), Fault> {
        let subscription = self.subscriptions.get_mut(&(key.topic, key.group)).expect("the caller read from it");
        let lane = subscription.pending(key.queue, key.offset).map(|before| before.message.group);
        let before = subscription.set(&mut self.timers, &mut self.needed, key.queue, key.offset, now);
        self.late.note(key, now.as_ref(), before, applying.changes);
        match lane {
            Some(lane) if now.is_none() && !planted::is(Bug::TailStays) => {
                self.advance_lane(key, (key.queue, lane), applying)
            }
            _ => Ok(()),
        }
    }
}

/// The delivery that an entry speaks of, if it still is one: it is until a tick ended it, however late that comes.
fn live_delivery(subscription: &Subscription, entry: &AckEntry, clock: UnixMillis) -> Result<Pending, Settled> {
    match subscription.taken(entry.queue) {
        Some(taken) if entry.offset.0 < taken => {}
        _ => return Err(Settled::Unknown),
    }
    match subscription.pending(entry.queue, entry.offset.0) {
        Some(pending)
            if pending.phase == Phase::Hidden
                && (pending.nonce == entry.nonce || planted::is(Bug::OldHandleCounts)) =>
        {
            Ok(*pending)
        }
        Some(_) => Err(Settled::Expired),
        // Done with. Within this delivery's own time that was an acknowledgement; later, it may have been another
        // delivery or the dead letters.
        None if entry.deadline > clock => Err(Settled::Already),
        None => Err(Settled::Expired),
    }
}
