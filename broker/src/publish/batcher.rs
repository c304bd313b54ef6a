//! The group's batcher: every replicated command passes here on its way into the log.
//!
//! ```text
//!  submit ─► waiting ─► [pipe has room] ─► one entry of all that waits, up to a target size ─► propose ─┐
//!     ▲                                                                                                 │
//!     └────────────────────── each command's outcome ◄──────────────────────────────────────────────────┘
//! ```
//! No linger: a command on an idle node leaves at once, alone; under load the few entries in flight make the next
//! batch grow. Order: commands enter the log in the order of `submit`. Bounded by the bytes of what waits and what is
//! in flight; beyond it a command is refused at once.
//!
//! Three answers (hazards 15): an outcome of `apply`, surely not stored, or unknown.

use std::{
    collections::VecDeque,
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

use crate::{
    limits::{COMMAND_BYTES_MAX, ENTRIES_IN_FLIGHT_MAX, ENTRY_BYTES_TARGET, PENDING_BYTES_MAX},
    metrics::Traffic,
    state::{BatchBuilder, EncodedCommand, Outcome, outcomes},
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
    /// Not stored: the bytes that wait are at their bound.
    #[error("too many bytes wait to be stored")]
    Overloaded,
    /// Not stored: the disks of the group are nearly full.
    #[error("the disks of the broker group are nearly full")]
    DiskFull,
    /// Not stored: the command is larger than an entry may be.
    #[error("the request makes a command of {bytes} bytes, at most {COMMAND_BYTES_MAX} are allowed")]
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
    /// Bytes of commands that wait or are in flight.
    pub pending_bytes_max: usize,
}

impl Default for BatcherOptions {
    fn default() -> Self {
        BatcherOptions {
            entry_bytes_target: ENTRY_BYTES_TARGET,
            entries_in_flight_max: ENTRIES_IN_FLIGHT_MAX,
            pending_bytes_max: PENDING_BYTES_MAX,
        }
    }
}

type Reply = oneshot::Sender<Result<Outcome, SubmitError>>;

struct Waiting {
    command: EncodedCommand,
    reply: Reply,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    /// The pump has stopped: nothing may wait any longer.
    closed: bool,
}

struct Shared {
    options: BatcherOptions,
    line: Mutex<Line>,
    pending_bytes: AtomicUsize,
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
struct Batch {
    bytes: usize,
    replies: Vec<Reply>,
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
            line: Mutex::new(Line::default()),
            pending_bytes: AtomicUsize::new(0),
            wake: Notify::new(),
            full: AtomicBool::new(false),
            traffic,
        });
        tokio::spawn(pump(Arc::clone(&shared), proposer, stamp, stop));
        Batcher { shared }
    }

    /// Puts a command into the log and waits for its outcome. Dropping the future does not take the command back.
    pub async fn submit(&self, command: EncodedCommand) -> Result<Outcome, SubmitError> {
        let bytes = command.bytes();
        if bytes > COMMAND_BYTES_MAX {
            return Err(SubmitError::TooLarge { bytes });
        }
        if command.messages() > 0 && self.shared.full.load(Ordering::Relaxed) {
            // The pump looks whether that is still so.
            self.shared.wake.notify_one();
            return Err(SubmitError::DiskFull);
        }
        let held = self.shared.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        if held + bytes > self.shared.options.pending_bytes_max {
            self.shared.release(bytes);
            return Err(SubmitError::Overloaded);
        }
        let (reply, outcome) = oneshot::channel();
        {
            let mut line = self.shared.lock();
            if line.closed {
                self.shared.release(bytes);
                return Err(SubmitError::NotLeader);
            }
            line.waiting.push_back(Waiting { command, reply });
        }
        self.shared.wake.notify_one();
        outcome.await.unwrap_or_else(|_| Err(SubmitError::Unknown(String::from("the node stops"))))
    }

    /// Bytes of commands that wait or are in flight.
    pub fn pending_bytes(&self) -> usize {
        self.shared.pending_bytes.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, bytes: usize) {
        let held = self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
        assert!(held >= bytes, "what is released was held");
    }

    /// All that waits, until the entry is full; at least one command. Nothing if none waits.
    fn take(&self) -> Option<(BatchBuilder, Batch)> {
        let mut line = self.lock();
        let mut taken = VecDeque::new();
        let mut bytes = 0;
        while let Some(next) = line.waiting.front() {
            if bytes > 0 && bytes + next.command.bytes() > self.options.entry_bytes_target {
                break;
            }
            bytes += next.command.bytes();
            taken.extend(line.waiting.pop_front());
        }
        drop(line);
        let mut builder = BatchBuilder::with_capacity(bytes);
        let mut replies = Vec::with_capacity(taken.len());
        for Waiting { command, reply } in taken {
            builder.push(&command);
            replies.push(reply);
        }
        (!replies.is_empty()).then_some((builder, Batch { bytes, replies }))
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
            refuse_waiting(&shared);
            if in_flight.is_empty() {
                return;
            }
            continue;
        }
        shared.full.store(proposer.is_full(), Ordering::Relaxed);
        while in_flight.len() < shared.options.entries_in_flight_max {
            let Some((builder, batch)) = shared.take() else { break };
            let messages = builder.messages();
            let payload = builder.build(stamp());
            shared.traffic.batch_proposed(u64::from(messages), payload.len() as u64);
            let proposal = proposer.propose(payload, messages);
            in_flight.push(async move { (batch, proposal.await) });
        }
        shared.traffic.pending_bytes().set(shared.pending_bytes.load(Ordering::Relaxed) as i64);
    }
}

fn refuse_waiting(shared: &Shared) {
    shared.lock().closed = true;
    while let Some((_, batch)) = shared.take() {
        shared.release(batch.bytes);
        for reply in batch.replies {
            let _ = reply.send(Err(SubmitError::NotLeader));
        }
    }
}

/// Hands each command its share of the entry's result.
fn settle(shared: &Shared, batch: Batch, result: Result<Proposed, ProposeError>) {
    shared.release(batch.bytes);
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
