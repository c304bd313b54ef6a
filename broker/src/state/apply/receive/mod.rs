//! Receive: picks messages for a group and hides them from its other consumers.
//!
//! First what is due again, then what is fresh; from all queues, beginning at another one each time. A message that was never
//! delivered and that the filter does not want is consumed for the group. One receive looks at [`SCAN_MAX`] messages at
//! most and says so if that was not enough.

mod redeliver;

use std::collections::BTreeSet;

use raft_log::types::UnixMillis;

use super::tails::UnwrittenTails;
use super::{Applying, Core};
use crate::model::{AttemptKey, ClientKey, GroupSettings, QueueId, QueueOffset, TagFilter, TagKey};
use crate::state::RENEWAL_AGE_MAX;
use crate::state::changes::Changes;
use crate::state::command::Receive;
use crate::state::consumption::{LaneKey, LateRecords, LeaseId, Pending, Phase, Subscription, TakenMessage, Timers};
use crate::state::fault::Fault;
use crate::state::index::BlockReader;
use crate::state::keys;
use crate::state::needed::Needed;
use crate::state::outcome::{Outcome, Pick, Received, UnknownName};
use crate::state::planted::{self, Bug};
use crate::state::retained::Retained;
use crate::state::store::Store;
use crate::state::topics::Queue;

/// Messages that one receive looks at, filtered ones included.
pub(crate) const SCAN_MAX: usize = 4096;

impl Core {
    pub(super) fn receive(&mut self, receive: &Receive, applying: &mut Applying<'_>) -> Result<Outcome, Fault> {
        let Some(topic) = self.topics.get(receive.topic) else { return Ok(Outcome::Unknown(UnknownName::Topic)) };
        if receive.queue.is_some_and(|queue| topic.queue(queue).is_none()) {
            return Ok(Outcome::Unknown(UnknownName::Queue));
        }
        let Some(settings) = self.groups.get(receive.group).map(|group| group.settings) else {
            return Ok(Outcome::Unknown(UnknownName::Group));
        };
        self.subscribe(receive.group, receive.topic, applying)?;
        self.groups.note_use(receive.group, receive.invisible_ms, applying.changes);
        let topic = self.topics.get(receive.topic).expect("looked up above");
        let key = (receive.topic, receive.group);
        let lease = self.lease_for(receive.auto_renew, applying);
        let mut picking = Picking {
            receive,
            settings,
            dead_letters: topic.name.is_dead_letter(),
            wanted: wanted(&receive.filter),
            clock: self.clock,
            lease,
            nonce: applying.id.index.0,
            subscription: self.subscriptions.get_mut(&key).expect("made above"),
            timers: &mut self.timers,
            needed: &mut self.needed,
            late: &mut self.late,
            retained: self.retained,
            expired: 0,
            store: applying.store,
            changes: applying.changes,
            unwritten_tails: &mut self.unwritten_tails,
            blocks: BlockReader::new(&self.recent, applying.store),
            received: Received::default(),
            bytes: 0,
            scanned: 0,
            closed: false,
            taken_lanes: BTreeSet::new(),
        };
        if !picking.repeat_attempt() {
            picking.redeliver()?;
            picking.take_fresh(&topic.queues)?;
        }
        let (received, expired) = (picking.received, picking.expired);
        self.counters.expired_unread += expired;
        self.counters.messages_out += received.picks.len() as u64;
        if let Some(lease) = lease.filter(|_| !received.picks.is_empty()) {
            self.extend_lease(lease, receive.invisible_ms, applying);
        }
        Ok(Outcome::Received(received))
    }

    /// The lease on which deliveries to this client are: the one that it has, or one that begins now.
    fn lease_for(&self, client: ClientKey, applying: &Applying<'_>) -> Option<LeaseId> {
        let anew = LeaseId { client, begun: applying.id.index };
        (!client.is_none()).then(|| self.leases.of(client).unwrap_or(anew))
    }

    /// A client that receives lives. Its lease is written again only where that matters.
    fn extend_lease(&mut self, lease: LeaseId, invisible_ms: u64, applying: &mut Applying<'_>) {
        let invisible_ms = invisible_ms.max(1);
        let enough = self.clock.0.saturating_add(invisible_ms - invisible_ms / 4);
        let ends = |deadline: UnixMillis| deadline.0 < enough && !planted::is(Bug::LeaseNotExtended);
        if self.leases.deadline(lease.client).is_none_or(ends) {
            self.leases.set(lease, UnixMillis(self.clock.0.saturating_add(invisible_ms)), applying.changes);
        }
    }
}

/// The tags that a filter lets through, or nothing for all.
fn wanted(filter: &TagFilter) -> Option<BTreeSet<TagKey>> {
    match filter {
        TagFilter::All => None,
        TagFilter::Tags(tags) => Some(tags.iter().map(|tag| TagKey::of(tag)).collect()),
    }
}

/// A receive under way.
struct Picking<'a> {
    receive: &'a Receive,
    settings: GroupSettings,
    /// Whether the messages are dead letters: their bodies move with retention instead of going, and what waits must follow.
    dead_letters: bool,
    wanted: Option<BTreeSet<TagKey>>,
    clock: UnixMillis,
    /// On which the deliveries are, if on any.
    lease: Option<LeaseId>,
    nonce: u64,
    subscription: &'a mut Subscription,
    timers: &'a mut Timers,
    needed: &'a mut Needed,
    late: &'a mut LateRecords,
    retained: Retained,
    /// Fresh messages that retention has taken.
    expired: u64,
    store: &'a Store,
    changes: &'a mut Changes,
    unwritten_tails: &'a mut UnwrittenTails,
    blocks: BlockReader<'a>,
    received: Received,
    bytes: u64,
    scanned: usize,
    /// A message did not fit.
    closed: bool,
    /// Lanes of which this receive has taken everything that waited: it may take more of them.
    taken_lanes: BTreeSet<LaneKey>,
}

/// What became of a message that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Picked, or held back for its message group.
    Passed,
    NotWanted,
    /// It does not fit any more: the receive is full.
    Full,
}

impl Picking<'_> {
    fn full(&mut self) -> bool {
        if self.scanned >= SCAN_MAX {
            self.received.more = true;
        }
        self.closed || self.received.more || self.received.picks.len() >= usize::from(self.receive.messages_max)
    }

    fn asks_for(&self, queue: QueueId) -> bool {
        self.receive.queue.is_none_or(|only| only == queue)
    }

    /// A FIFO group's repeated attempt gets what it holds: same messages, same attempt numbers, a new deadline; its
    /// old handles go on working. False if it holds nothing.
    fn repeat_attempt(&mut self) -> bool {
        if !self.settings.fifo || self.receive.attempt.is_none() {
            return false;
        }
        let held = self.subscription.held_by_attempt(self.receive.attempt);
        for (queue, offset) in &held {
            let mut pending = *self.subscription.pending(*queue, *offset).expect("attempts hold pending messages");
            (pending.deadline, pending.lease) = (self.deadline(), self.lease);
            self.hand_out(*queue, *offset, pending);
            self.received.picks.push(pick(*queue, *offset, &pending));
        }
        !held.is_empty()
    }

    /// Picks fresh messages, queue by queue, beginning at another queue with each entry.
    fn take_fresh(&mut self, queues: &[Queue]) -> Result<(), Fault> {
        let start = usize::try_from(self.nonce % queues.len() as u64).expect("below the number of queues");
        let ranges = (0..).map(QueueId).zip(queues).skip(start).chain((0..).map(QueueId).zip(&queues[..start]));
        for (queue, range) in ranges {
            if self.full() {
                return Ok(());
            }
            let fresh = self.asks_for(queue) && self.subscription.fresh(queue, *range) > 0;
            if fresh && self.take_fresh_of(queue, *range)? == Look::Full {
                return Ok(());
            }
        }
        Ok(())
    }

    fn take_fresh_of(&mut self, queue: QueueId, range: Queue) -> Result<Look, Fault> {
        let before = self.subscription.taken(queue).expect("a queue of the topic");
        let mut taken = before.max(range.first);
        if self.retained.swept < self.retained.start {
            let readable = self.blocks.first_from((self.receive.topic, queue), range, self.retained.start)?;
            self.expired += readable.saturating_sub(taken);
            taken = taken.max(readable);
        }
        let mut last = Look::NotWanted;
        while taken < range.next && !self.full() && !self.subscription.is_full(queue) && !self.timers.is_full() {
            last = self.look_fresh(queue, taken)?;
            if last == Look::Full {
                break;
            }
            taken += 1;
        }
        if taken > before {
            self.subscription.set_taken(queue, taken);
            self.changes.put(keys::taken(self.receive.group, self.receive.topic, queue), &taken.to_le_bytes());
        }
        Ok(last)
    }

    /// Looks at a message that was never taken.
    fn look_fresh(&mut self, queue: QueueId, offset: u64) -> Result<Look, Fault> {
        let block = self.blocks.block((self.receive.topic, queue), offset)?;
        let message = TakenMessage::of(&block, block.message(offset).expect("the block of this message"));
        if self.wants(&message) && self.held_back(queue, &message) {
            self.scanned += 1;
            if self.dead_letters {
                self.hand_out(queue, offset, Pending::waiting(message));
            } else {
                let (subscription, mut tails) = self.tails();
                tails.push(subscription, queue, offset, message);
            }
            return Ok(Look::Passed);
        }
        Ok(self.look(queue, offset, Pending::waiting(message)))
    }

    /// Looks at one message that was never delivered and that nothing holds back: picks it or finds it unwanted.
    fn look(&mut self, queue: QueueId, offset: u64, pending: Pending) -> Look {
        if self.wants(&pending.message) {
            return self.offer(queue, offset, pending);
        }
        self.scanned += 1;
        Look::NotWanted
    }

    /// Picks a message, if it fits.
    fn offer(&mut self, queue: QueueId, offset: u64, pending: Pending) -> Look {
        self.scanned += 1;
        let length = u64::from(pending.message.position.length);
        if !self.received.picks.is_empty() && self.bytes + length > u64::from(self.receive.bytes_max) {
            self.closed = true;
            return Look::Full;
        }
        self.bytes += length;
        let pending = self.delivered(pending);
        self.hand_out(queue, offset, pending);
        self.received.picks.push(pick(queue, offset, &pending));
        Look::Passed
    }

    fn wants(&self, message: &TakenMessage) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&message.tag))
    }

    /// Whether a fresh message of a FIFO group has to wait for its message group. If not, its lane is this receive's.
    fn held_back(&mut self, queue: QueueId, message: &TakenMessage) -> bool {
        if !self.settings.fifo || message.group.is_none() || planted::is(Bug::OrderIgnored) {
            return false;
        }
        let lane = (queue, message.group);
        if self.subscription.has_lane(lane) && !self.taken_lanes.contains(&lane) {
            return true;
        }
        self.taken_lanes.insert(lane);
        false
    }

    /// The message as it stands once more delivered.
    fn delivered(&self, before: Pending) -> Pending {
        let raise = u16::from(!before.suspended && !planted::is(Bug::AttemptStays));
        Pending {
            phase: Phase::Hidden,
            attempt: before.attempt.saturating_add(raise).max(1),
            suspended: false,
            moved: false,
            deadline: self.deadline(),
            nonce: self.nonce,
            delivered_at: self.clock,
            message: before.message,
            lease: self.lease,
            attempt_key: if self.settings.fifo { self.receive.attempt } else { AttemptKey::NONE },
        }
    }

    fn deadline(&self) -> UnixMillis {
        let for_ms = match self.lease {
            Some(_) => RENEWAL_AGE_MAX.as_millis() as u64,
            // At least a moment: a delivery ends after the entry that made it, so that no entry delivers a message twice.
            None => self.receive.invisible_ms.max(1),
        };
        UnixMillis(self.clock.0.saturating_add(for_ms))
    }

    fn hand_out(&mut self, queue: QueueId, offset: u64, pending: Pending) {
        self.set(queue, offset, Some(pending));
    }

    fn set(&mut self, queue: QueueId, offset: u64, now: Option<Pending>) {
        let before = self.subscription.set(self.timers, self.needed, queue, offset, now);
        self.late.note(self.subscription.key(queue, offset), now.as_ref(), before, self.changes);
    }
}

fn pick(queue: QueueId, offset: u64, pending: &Pending) -> Pick {
    let Pending { attempt, nonce, deadline, message, .. } = *pending;
    let TakenMessage { position, origin, .. } = message;
    Pick { queue, offset: QueueOffset(offset), attempt, position, nonce, deadline, origin }
}
