//! One long poll on the leader: look, receive if it is worth a command, else park until woken or until the poll ends.

use std::{future::Future, sync::Arc, time::Duration};

use raft_log::types::Term;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    parking::{Parked, Parking},
    retry::{GIVE_BACK_FOR, is_overloaded, over, retried},
    timers::{messages, millis},
};
use crate::{
    forward::Leadership,
    limits::STREAM_RECEIVE_MESSAGES_MAX,
    metrics::Traffic,
    model::{AttemptKey, ClientKey, ConsumerGroupId, TagFilter, TopicId},
    publish::{Batcher, SubmitError},
    state::{AckEntry, ChangeInvisible, Outcome, Pick, Receive, Received, StateReader, UnknownName},
};

/// How long a message that could not be read stays away. Long enough for a repair from the other nodes.
const UNREADABLE_FOR: Duration = Duration::from_secs(30);
/// Between two attempts to get a command into an overloaded log.
const OVERLOAD_BACKOFF: Duration = Duration::from_millis(100);
/// Changes in flight of what is given back or set aside together.
const CHANGES_AT_ONCE: usize = 512;

/// What a receive asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The topic.
    pub topic: TopicId,
    /// The consumer group.
    pub group: ConsumerGroupId,
    /// Whether the group keeps the order.
    pub fifo: bool,
    /// Which messages.
    pub filter: TagFilter,
    /// How many at most; 0 waits out the poll and gets none.
    pub messages_max: u16,
    /// How many bytes at most; the first message always passes.
    pub bytes_max: u32,
    /// For how long they are hidden from others.
    pub invisible_ms: u64,
    /// The client whose deliveries the server renews, or none.
    pub auto_renew: ClientKey,
    /// By which a repeat of this receive is known, or none.
    pub attempt: AttemptKey,
    /// When the poll ends.
    pub until: Instant,
}

/// Why a poll ended without messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollEnd {
    /// Nothing came in time, or the node stops.
    Empty,
    /// The client went away.
    Gone,
    /// Too many receives are parked.
    Full,
    /// This node does not lead any longer.
    LeaderLost,
    /// The topic or group went away.
    Unknown(UnknownName),
    /// The command failed.
    Failed(SubmitError),
}

/// Polls on one node.
pub struct Poll {
    pub(super) state: StateReader,
    pub(super) batcher: Batcher,
    pub(super) leadership: Arc<Leadership>,
    pub(super) parking: Arc<Parking>,
    pub(super) traffic: Traffic,
    pub(super) stop: CancellationToken,
}

impl Poll {
    /// Composed of the node's parts.
    pub fn new(
        state: StateReader,
        batcher: Batcher,
        leadership: Arc<Leadership>,
        parking: Arc<Parking>,
        traffic: Traffic,
        stop: CancellationToken,
    ) -> Poll {
        Poll { state, batcher, leadership, parking, traffic, stop }
    }

    /// Waits for messages and picks them. Must run to its end: a pick that nobody takes stays hidden for its time.
    /// `gone` returns when the client went away.
    pub async fn run(&self, wanted: &Wanted, gone: impl Future<Output = ()>) -> Result<Vec<Pick>, PollEnd> {
        let term = self.leadership.term();
        let mut gone = std::pin::pin!(gone);
        if wanted.messages_max == 0 {
            // In no line: a wake-up would be lost on it.
            return Err(self.ended(wanted, term, gone).await);
        }
        // A repeat of a FIFO receive is answered even if nothing new is there.
        if wanted.fifo && !wanted.attempt.is_none() {
            let repeated = self.receive(wanted).await?;
            if !repeated.picks.is_empty() {
                self.left_over(wanted);
                return Ok(repeated.picks);
            }
        }
        // In line before looking, and again before each further look: what becomes available between the two wakes it.
        let mut parked = self.park(wanted)?;
        self.parking.arrived(wanted.topic, wanted.group, self.ready(wanted));
        loop {
            self.traffic.parked_receives().inc();
            let end = tokio::select! {
                biased;
                end = self.ended(wanted, term, gone.as_mut()) => Some(end),
                () = parked.woken() => None,
            };
            self.traffic.parked_receives().dec();
            // Without having looked, it passes its wake-up on.
            if let Some(end) = end {
                return Err(end);
            }
            let next = self.park(wanted);
            let received = loop {
                match self.receive(wanted).await {
                    // Its turn is not over, and its client is not sent away for the load that others make.
                    Err(PollEnd::Failed(SubmitError::Overloaded)) => tokio::select! {
                        biased;
                        end = self.ended(wanted, term, gone.as_mut()) => return Err(end),
                        () = tokio::time::sleep(OVERLOAD_BACKOFF) => {}
                    },
                    received => break received?,
                }
            };
            let found = !received.picks.is_empty() || received.more;
            let (next, full) = next.map_or_else(|full| (None, Some(full)), |next| (Some(next), None));
            let next = parked.looked(found, next, || self.ready(wanted));
            if !received.picks.is_empty() {
                return Ok(received.picks);
            }
            parked = next.ok_or(full.unwrap_or(PollEnd::Empty))?;
        }
    }

    /// So many messages are about to be stored in this topic.
    pub fn expect(&self, topic: TopicId, messages: u64) {
        self.parking.expected(topic, messages);
    }

    /// Somebody uses the group, though he asks for nothing at the moment.
    pub fn in_use(&self, group: ConsumerGroupId) {
        self.parking.in_use(group);
    }

    /// Returns when the poll is over, whatever there is.
    async fn ended(&self, wanted: &Wanted, term: Term, gone: impl Future<Output = ()>) -> PollEnd {
        tokio::select! {
            biased;
            () = gone => PollEnd::Gone,
            () = self.leadership.lost(term) => PollEnd::LeaderLost,
            () = self.stop.cancelled() => PollEnd::Empty,
            () = tokio::time::sleep_until(wanted.until) => PollEnd::Empty,
        }
    }

    fn park(&self, wanted: &Wanted) -> Result<Parked, PollEnd> {
        self.parking.park(wanted.topic, wanted.group, wanted.messages_max).ok_or(PollEnd::Full)
    }

    /// What it did not take is for the others.
    fn left_over(&self, wanted: &Wanted) {
        self.parking.left_over(wanted.topic, wanted.group, self.ready(wanted));
    }

    /// How many messages the group can be given now.
    fn ready(&self, wanted: &Wanted) -> u64 {
        messages(self.state.ready(wanted.group, wanted.topic))
    }

    /// Sets deliveries aside whose messages could not be read: hidden for a while, and the delivery counts.
    pub async fn set_aside(&self, wanted: &Wanted, entries: &[AckEntry]) {
        self.change(wanted, entries, UNREADABLE_FOR, false).await;
    }

    /// Puts back what could not be delivered: available at once, and the delivery does not count.
    pub async fn give_back(&self, wanted: &Wanted, entries: &[AckEntry]) {
        self.change(wanted, entries, Duration::ZERO, true).await;
    }

    /// For [`GIVE_BACK_FOR`] at most.
    async fn change(&self, wanted: &Wanted, entries: &[AckEntry], invisible: Duration, suspend: bool) {
        let until = Instant::now() + GIVE_BACK_FOR;
        let change = |entry: &AckEntry| {
            let (group, topic, entry, invisible_ms) = (wanted.group, wanted.topic, *entry, millis(invisible));
            let change = ChangeInvisible { group, topic, entry, invisible_ms, suspend }.encode();
            let submit = move || self.batcher.submit(change.clone());
            retried(over(until, &self.stop), OVERLOAD_BACKOFF, is_overloaded, submit)
        };
        for some in entries.chunks(CHANGES_AT_ONCE) {
            for result in futures::future::join_all(some.iter().map(change)).await {
                if let Err(error) = result {
                    tracing::debug!(%error, "an undelivered message was not given back; it returns after its time");
                }
            }
        }
    }

    /// Picks what is there; none if there is nothing for this filter or all of it is held back.
    async fn receive(&self, wanted: &Wanted) -> Result<Received, PollEnd> {
        assert!(usize::from(wanted.messages_max) <= STREAM_RECEIVE_MESSAGES_MAX, "capped at the door");
        let command = Receive {
            group: wanted.group,
            topic: wanted.topic,
            queue: None,
            filter: wanted.filter.clone(),
            messages_max: wanted.messages_max,
            bytes_max: wanted.bytes_max,
            invisible_ms: wanted.invisible_ms,
            auto_renew: wanted.auto_renew,
            attempt: wanted.attempt,
        }
        .encode();
        loop {
            match self.batcher.submit(command.clone()).await {
                Ok(Outcome::Received(received))
                    if received.picks.is_empty() && received.more && Instant::now() < wanted.until => {}
                Ok(Outcome::Received(received)) => return Ok(received),
                Ok(Outcome::Unknown(name)) => return Err(PollEnd::Unknown(name)),
                Ok(other) => panic!("a receive was answered by {other:?}"),
                Err(SubmitError::NotLeader) => return Err(PollEnd::LeaderLost),
                Err(error) => return Err(PollEnd::Failed(error)),
            }
        }
    }
}
