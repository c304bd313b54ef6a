//! One long poll on the leader: look, receive if it is worth a command, else park until woken or until the poll ends.

use std::{future::Future, sync::Arc};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::parking::Parking;
use crate::{
    forward::Leadership,
    limits::RECEIVE_MESSAGES_MAX,
    metrics::Traffic,
    model::{AttemptKey, ClientKey, ConsumerGroupId, TagFilter, TopicId},
    publish::{Batcher, SubmitError},
    state::{ChangeInvisible, Outcome, Pick, Receive, StateReader, UnknownName},
};

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
        // A repeat of a FIFO receive is answered even if nothing new is there.
        let mut repeats = wanted.fifo && !wanted.attempt.is_none();
        loop {
            // In line before looking: what becomes available between the two wakes it.
            let mut parked = self.parking.park(wanted.topic, wanted.group).ok_or(PollEnd::Full)?;
            if wanted.messages_max > 0 && (std::mem::take(&mut repeats) || self.anything(wanted)) {
                let picks = self.receive(wanted).await?;
                if !picks.is_empty() {
                    drop(parked);
                    if self.anything(wanted) {
                        self.parking.wake(wanted.topic, wanted.group);
                    }
                    return Ok(picks);
                }
            }
            self.traffic.parked_receives().inc();
            let end = tokio::select! {
                () = parked.woken() => None,
                () = tokio::time::sleep_until(wanted.until) => Some(PollEnd::Empty),
                () = &mut gone => Some(PollEnd::Gone),
                () = self.leadership.lost(term) => Some(PollEnd::LeaderLost),
                () = self.stop.cancelled() => Some(PollEnd::Empty),
            };
            self.traffic.parked_receives().dec();
            if let Some(end) = end {
                return Err(end);
            }
        }
    }

    /// Puts picks back that could not be delivered: available at once, and the delivery does not count.
    pub async fn give_back(&self, wanted: &Wanted, picks: &[Pick]) {
        let changes = picks.iter().map(|pick| {
            let change = ChangeInvisible {
                group: wanted.group,
                topic: wanted.topic,
                entry: super::deliver::ack_entry(pick),
                invisible_ms: 0,
                suspend: true,
            };
            self.batcher.submit(change.encode())
        });
        for result in futures::future::join_all(changes).await {
            if let Err(error) = result {
                tracing::debug!(%error, "an undelivered message was not given back; it returns after its time");
            }
        }
    }

    fn anything(&self, wanted: &Wanted) -> bool {
        self.state.ready(wanted.group, wanted.topic).any()
    }

    /// Picks what is there; none if there is nothing for this filter or all of it is held back.
    async fn receive(&self, wanted: &Wanted) -> Result<Vec<Pick>, PollEnd> {
        assert!(usize::from(wanted.messages_max) <= RECEIVE_MESSAGES_MAX, "capped at the door");
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
                Ok(Outcome::Received(received)) if received.picks.is_empty() && received.more => {
                    if Instant::now() >= wanted.until {
                        return Ok(Vec::new());
                    }
                }
                Ok(Outcome::Received(received)) => return Ok(received.picks),
                Ok(Outcome::Unknown(name)) => return Err(PollEnd::Unknown(name)),
                Ok(other) => panic!("a receive was answered by {other:?}"),
                Err(SubmitError::NotLeader) => return Err(PollEnd::LeaderLost),
                Err(error) => return Err(PollEnd::Failed(error)),
            }
        }
    }
}
