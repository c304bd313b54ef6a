//! The group's batcher: every replicated command passes here on its way into the log.
//!
//! ```text
//!  submit ─► lines by class ─► [pipe has room] ─► one entry of what waits, up to a target size ─► propose ─┐
//!     ▲                                                                                                    │
//!     └───────────────────────── each command's outcome ◄──────────────────────────────────────────────────┘
//! ```
//! No linger: a command on an idle node leaves at once, alone; under load the few entries in flight make the next
//! batch grow. Order: commands of a class enter the log in the order of `submit`. Each class is bounded by the bytes of what
//! waits and what is in flight of it; beyond that a command is refused at once, and none of another class: however much is
//! published, acknowledgements are neither refused nor do they wait behind it ([`super::lines`]).
//!
//! Three answers (hazards 15): an outcome of `apply`, surely not stored, or unknown.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use raft_log::{ProposeError, Proposed, Replica, types::UnixMillis};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::lines::Lines;
use crate::{
    limits::{
        ADMINISTRATION_PENDING_BYTES_MAX, COMMAND_BYTES_MAX, COMMAND_OVERHEAD_BYTES, ENTRIES_IN_FLIGHT_MAX,
        ENTRY_BYTES_TARGET, KEEP_PENDING_BYTES_MAX, PENDING_BYTES_MAX, RECEIVE_PENDING_BYTES_MAX,
        SETTLE_PENDING_BYTES_MAX, SMALL_COMMAND_BYTES_MAX,
    },
    metrics::Traffic,
    state::{BatchBuilder, Class, EncodedCommand, Outcome, outcomes},
};

/// What entries are proposed to.
pub trait Proposer: Send + Sync + 'static {
    /// Proposes a payload of `count` messages. MUST keep the order of the calls if each future is polled at once.
    fn propose(
        &self,
        payload: Bytes,
        count: u32,
    ) -> impl Future<Output = Result<Proposed, ProposeError>> + Send + 'static;

    /// Whether disks are so full that publishes are refused now.
    fn is_full(&self) -> bool {
        false
    }
}

impl Proposer for Replica {
    fn propose(
        &self,
        payload: Bytes,
        count: u32,
    ) -> impl Future<Output = Result<Proposed, ProposeError>> + Send + 'static {
        let replica = self.clone();
        async move { Replica::propose(&replica, payload, count).await }
    }

    fn is_full(&self) -> bool {
        !self.full_members().is_empty()
    }
}

/// Why a command has no outcome of `apply`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Not stored: this node does not lead (any longer).
    #[error("this node does not lead the group")]
    NotLeader,
    /// Not stored: the bytes of its class that wait are at their bound.
    #[error("too many bytes wait to be stored")]
    Overloaded,
    /// Not stored: the disks of the group are nearly full.
    #[error("the disks of the broker group are nearly full")]
    DiskFull,
    /// Not stored: the command is larger than an entry may be.
    #[error("the request makes a command of {bytes} bytes, which is more than an entry holds")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It may be stored.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
}

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
    fn bytes_max(&self, class: Class) -> usize {
        match class {
            Class::Settle => self.settle_bytes_max,
            Class::Deliver => RECEIVE_PENDING_BYTES_MAX,
            Class::Time | Class::Administer => ADMINISTRATION_PENDING_BYTES_MAX,
            Class::Keep => KEEP_PENDING_BYTES_MAX,
            Class::Publish => self.publish_bytes_max,
        }
    }
}

type Reply = oneshot::Sender<Result<Outcome, SubmitError>>;

struct Waiting {
    command: EncodedCommand,
    reply: Reply,
}

#[derive(Default)]
struct Door {
    lines: Lines<Waiting>,
    /// The pump has stopped: nothing may wait any longer.
    closed: bool,
}

struct Shared {
    options: BatcherOptions,
    door: Mutex<Door>,
    /// What commands that wait or are in flight hold, by class.
    held: [AtomicUsize; Class::COUNT],
    wake: Notify,
    /// Publishes are refused at the door, so that none shares an entry with what still passes.
    full: AtomicBool,
    traffic: Traffic,
}

/// Takes commands; cheap to clone.
#[derive(Clone)]
pub struct Batcher {
    shared: Arc<Shared>,
}

/// Commands that share an entry.
#[derive(Default)]
struct Batch {
    /// What they hold, by class.
    held: [usize; Class::COUNT],
    replies: Vec<Reply>,
}

/// What a command holds while it waits or is in flight.
fn cost(command: &EncodedCommand) -> usize {
    command.bytes() + COMMAND_OVERHEAD_BYTES
}

impl Batcher {
    /// Starts the pump on the current runtime. It ends when `stop` is cancelled and what is in flight is answered.
    /// `stamp` gives the leader's time at the moment an entry is made.
    pub fn start(
        proposer: impl Proposer,
        stamp: impl Fn() -> UnixMillis + Send + Sync + 'static,
        options: BatcherOptions,
        traffic: Traffic,
        stop: CancellationToken,
    ) -> Batcher {
        let shared = Arc::new(Shared {
            options,
            door: Mutex::new(Door::default()),
            held: Default::default(),
            wake: Notify::new(),
            full: AtomicBool::new(false),
            traffic,
        });
        tokio::spawn(pump(Arc::clone(&shared), proposer, stamp, stop));
        Batcher { shared }
    }

    /// Puts a command into the log and waits for its outcome. Dropping the future does not take the command back.
    pub async fn submit(&self, command: EncodedCommand) -> Result<Outcome, SubmitError> {
        let (class, bytes) = (command.class(), command.bytes());
        // Bodies are in the commands of these two.
        let large = matches!(class, Class::Publish | Class::Keep);
        if bytes > if large { COMMAND_BYTES_MAX } else { SMALL_COMMAND_BYTES_MAX } {
            return Err(SubmitError::TooLarge { bytes });
        }
        if class == Class::Publish && self.shared.full.load(Ordering::Relaxed) {
            // The pump looks whether that is still so.
            self.shared.wake.notify_one();
            return Err(SubmitError::DiskFull);
        }
        let cost = cost(&command);
        let held = self.shared.held[class as usize].fetch_add(cost, Ordering::Relaxed);
        if held + cost > self.shared.options.bytes_max(class) {
            self.shared.release(class, cost);
            return Err(SubmitError::Overloaded);
        }
        let (reply, outcome) = oneshot::channel();
        {
            let mut door = self.shared.door();
            if door.closed {
                self.shared.release(class, cost);
                return Err(SubmitError::NotLeader);
            }
            door.lines.push(class, bytes, Waiting { command, reply });
        }
        self.shared.wake.notify_one();
        outcome.await.unwrap_or_else(|_| Err(SubmitError::Unknown(String::from("the node stops"))))
    }

    /// What the commands of a class that wait or are in flight hold, in bytes.
    pub fn pending_bytes(&self, class: Class) -> usize {
        self.shared.held[class as usize].load(Ordering::Relaxed)
    }
}

impl Shared {
    fn door(&self) -> std::sync::MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, class: Class, bytes: usize) {
        let held = self.held[class as usize].fetch_sub(bytes, Ordering::Relaxed);
        assert!(held >= bytes, "what is released was held");
    }

    /// What makes the next entry. Nothing if nothing waits.
    fn take(&self) -> Option<(BatchBuilder, Batch)> {
        let taken = self.door().lines.take(self.options.entry_bytes_target)?;
        let mut builder = BatchBuilder::with_capacity(taken.bytes);
        let mut batch = Batch::default();
        for (commands, held) in taken.commands.into_iter().zip(&mut batch.held) {
            for Waiting { command, reply } in commands {
                *held += cost(&command);
                builder.push(&command);
                batch.replies.push(reply);
            }
        }
        Some((builder, batch))
    }

    /// Answers all commands of a class that wait.
    fn refuse(&self, class: Class, why: &SubmitError) {
        let waiting: Vec<Waiting> = self.door().lines.drain(class).collect();
        for Waiting { command, reply } in waiting {
            self.release(class, cost(&command));
            // A client that went away does not wait for it.
            let _ = reply.send(Err(why.clone()));
        }
    }
}

async fn pump(
    shared: Arc<Shared>,
    proposer: impl Proposer,
    stamp: impl Fn() -> UnixMillis + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let mut in_flight = FuturesUnordered::new();
    let mut stopping = false;
    loop {
        tokio::select! {
            Some((batch, result)) = in_flight.next(), if !in_flight.is_empty() => settle(&shared, batch, result),
            () = shared.wake.notified(), if in_flight.len() < shared.options.entries_in_flight_max => {
                // Whoever is ready to run may submit too, and shares the entry.
                tokio::task::yield_now().await;
            }
            () = stop.cancelled(), if !stopping => stopping = true,
        }
        if stopping {
            shared.door().closed = true;
            Class::ALL.iter().for_each(|class| shared.refuse(*class, &SubmitError::NotLeader));
            if in_flight.is_empty() {
                return;
            }
            continue;
        }
        let full = proposer.is_full();
        shared.full.store(full, Ordering::Relaxed);
        if full {
            // They would be refused with all that shares an entry with them.
            shared.refuse(Class::Publish, &SubmitError::DiskFull);
        }
        while in_flight.len() < shared.options.entries_in_flight_max {
            let Some((builder, batch)) = shared.take() else { break };
            let messages = builder.messages();
            let payload = builder.build(stamp());
            shared.traffic.batch_proposed(u64::from(messages), payload.len() as u64);
            let proposal = proposer.propose(payload, messages);
            in_flight.push(async move { (batch, proposal.await) });
        }
        for class in Class::ALL {
            let held = shared.held[class as usize].load(Ordering::Relaxed);
            shared.traffic.pending_bytes(class.name(), held as u64);
        }
    }
}

/// Hands each command its share of the entry's result.
fn settle(shared: &Shared, batch: Batch, result: Result<Proposed, ProposeError>) {
    for (class, held) in Class::ALL.into_iter().zip(batch.held) {
        shared.release(class, held);
    }
    let error = match result {
        Ok(proposed) => match outcomes(&proposed.response) {
            Ok(outcomes) if outcomes.len() == batch.replies.len() => {
                for (reply, outcome) in batch.replies.into_iter().zip(outcomes) {
                    // A client that went away does not wait for it.
                    let _ = reply.send(Ok(outcome));
                }
                return;
            }
            Ok(outcomes) => {
                let (have, want) = (outcomes.len(), batch.replies.len());
                SubmitError::Unknown(format!("entry {} has {have} outcomes for {want} commands", proposed.id))
            }
            Err(error) => SubmitError::Unknown(format!("the outcomes of entry {}: {error}", proposed.id)),
        },
        Err(ProposeError::NotLeader { .. }) => SubmitError::NotLeader,
        Err(ProposeError::Overloaded { .. }) => SubmitError::Overloaded,
        Err(ProposeError::DiskFull { .. }) => SubmitError::DiskFull,
        Err(ProposeError::TooLarge { bytes, .. }) => SubmitError::TooLarge { bytes },
        Err(ProposeError::Unknown { reason }) => SubmitError::Unknown(reason),
    };
    for reply in batch.replies {
        let _ = reply.send(Err(error.clone()));
    }
}

#[cfg(test)]
#[path = "batcher_tests.rs"]
mod tests;
