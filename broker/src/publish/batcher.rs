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
//! published, acknowledgements are neither refused nor do they wait behind it ([`super::lines`], [`super::pipe`]).
//!
//! Three answers (hazards 15): an outcome of `apply`, surely not stored, or unknown.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use raft_log::types::UnixMillis;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{lines::Lines, pipe::Pipe, proposer::Proposer, pump, stream_room::TakenRoom};
use crate::{
    limits::{
        ADMINISTRATION_PENDING_BYTES_MAX, COMMAND_BYTES_MAX, COMMAND_OVERHEAD_BYTES, ENTRIES_IN_FLIGHT_MAX,
        ENTRY_BYTES_TARGET, KEEP_PENDING_BYTES_MAX, PENDING_BYTES_MAX, RECEIVE_PENDING_BYTES_MAX,
        SETTLE_PENDING_BYTES_MAX, SMALL_COMMAND_BYTES_MAX,
    },
    metrics::Traffic,
    state::{BatchBuilder, Class, EncodedCommand, Level, Outcome},
};

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

/// Whoever waits for a command's outcome, and the room that the command takes until it has one, though nobody waits any more.
pub(super) struct Reply {
    to: oneshot::Sender<Result<Outcome, SubmitError>>,
    _room: Option<Arc<TakenRoom>>,
}

impl Reply {
    /// Fails if nobody waits for it.
    pub(super) fn send(self, outcome: Result<Outcome, SubmitError>) -> Result<(), Result<Outcome, SubmitError>> {
        self.to.send(outcome)
    }
}

struct Waiting {
    command: EncodedCommand,
    reply: Reply,
    since: Instant,
}

/// So long after its last publish a node is busy with publishing.
const PUBLISHES_REMEMBERED: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Door {
    lines: Lines<Waiting>,
    /// When the last publish came.
    published: Option<Instant>,
    /// The pump has stopped: nothing may wait any longer.
    closed: bool,
}

pub(super) struct Shared {
    pub(super) options: BatcherOptions,
    door: Mutex<Door>,
    /// What commands that wait or are in flight hold, by class.
    held: [AtomicUsize; Class::COUNT],
    pub(super) wake: Notify,
    /// Publishes are refused at the door, so that none shares an entry with what still passes.
    pub(super) full: AtomicBool,
    pub(super) traffic: Traffic,
    level: Box<dyn Fn() -> Level + Send + Sync>,
}

/// Takes commands; cheap to clone.
#[derive(Clone)]
pub struct Batcher {
    shared: Arc<Shared>,
}

/// Commands that share an entry.
pub(super) struct Batch {
    /// What they hold, by class.
    pub(super) held: [usize; Class::COUNT],
    pub(super) replies: Vec<Reply>,
    /// When it was made.
    pub(super) since: Instant,
}

/// What a command holds while it waits or is in flight.
fn cost(command: &EncodedCommand) -> usize {
    command.bytes() + COMMAND_OVERHEAD_BYTES
}

impl Batcher {
    /// Starts the pump on the current runtime. It ends when `stop` is cancelled and what is in flight is answered.
    /// `stamp` gives the leader's time at the moment an entry is made, `level` the group's feature level.
    pub fn start(
        proposer: impl Proposer,
        stamp: impl Fn() -> UnixMillis + Send + Sync + 'static,
        level: impl Fn() -> Level + Send + Sync + 'static,
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
            level: Box::new(level),
        });
        tokio::spawn(pump::run(Arc::clone(&shared), proposer, stamp, stop));
        Batcher { shared }
    }

    /// Puts a command into the log and waits for its outcome. Dropping the future does not take the command back.
    pub async fn submit(&self, command: EncodedCommand) -> Result<Outcome, SubmitError> {
        self.enter(command, None)?.await
    }

    /// Puts a command in line at once; answers what waits for its outcome. `room` of its stream is taken until there is one, however
    /// long anybody waits for that.
    pub fn enter(
        &self,
        command: EncodedCommand,
        room: Option<Arc<TakenRoom>>,
    ) -> Result<impl Future<Output = Result<Outcome, SubmitError>> + use<>, SubmitError> {
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
        let (to, outcome) = oneshot::channel();
        let reply = Reply { to, _room: room };
        {
            let mut door = self.shared.door();
            if door.closed {
                self.shared.release(class, cost);
                return Err(SubmitError::NotLeader);
            }
            let since = Instant::now();
            if class == Class::Publish {
                door.published = Some(since);
            }
            door.lines.push(class, bytes, Waiting { command, reply, since });
        }
        self.shared.wake.notify_one();
        Ok(async move { outcome.await.unwrap_or_else(|_| Err(SubmitError::Unknown(String::from("the node stops")))) })
    }

    /// Whether publishes come here now, or came a moment ago.
    pub fn is_publishing(&self) -> bool {
        self.shared.door().published.is_some_and(|last| last.elapsed() < PUBLISHES_REMEMBERED)
    }

    /// What the commands of a class that wait or are in flight hold, in bytes.
    pub fn pending_bytes(&self, class: Class) -> usize {
        self.shared.held(class)
    }
}

impl Shared {
    fn door(&self) -> std::sync::MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn release(&self, class: Class, bytes: usize) {
        let held = self.held[class as usize].fetch_sub(bytes, Ordering::Relaxed);
        assert!(held >= bytes, "what is released was held");
    }

    /// What makes the next entry, with no more publishes than have room. Nothing if nothing waits.
    pub(super) fn take(&self, pipe: &mut Pipe) -> Option<(BatchBuilder, Batch)> {
        let (now, target) = (Instant::now(), self.options.entry_bytes_target);
        let taken = {
            let lines = &mut self.door().lines;
            if lines.waits(Class::Settle) || lines.waits(Class::Deliver) {
                pipe.see_others(now);
            }
            lines.take(target, pipe.publish_room(target, now))?
        };
        let mut builder = BatchBuilder::with_capacity(taken.bytes).at((self.level)());
        let mut batch = Batch { held: Default::default(), replies: Vec::new(), since: now };
        for (class, commands) in Class::ALL.into_iter().zip(taken.commands) {
            if let Some(first) = commands.first() {
                self.traffic.waited_in_line(class.name(), now.saturating_duration_since(first.since));
            }
            for Waiting { command, reply, .. } in commands {
                batch.held[class as usize] += cost(&command);
                builder.push(&command);
                batch.replies.push(reply);
            }
        }
        pipe.enter(&batch.held);
        Some((builder, batch))
    }

    /// Lets nothing wait any longer: this node does not lead.
    pub(super) fn close(&self) {
        self.door().closed = true;
        Class::ALL.iter().for_each(|class| self.refuse(*class, &SubmitError::NotLeader));
    }

    /// What the commands of a class hold now.
    pub(super) fn held(&self, class: Class) -> usize {
        self.held[class as usize].load(Ordering::Relaxed)
    }

    /// Answers all commands of a class that wait.
    pub(super) fn refuse(&self, class: Class, why: &SubmitError) {
        let waiting: Vec<Waiting> = self.door().lines.drain(class).collect();
        for Waiting { command, reply, .. } in waiting {
            self.release(class, cost(&command));
            // A client that went away does not wait for it.
            let _ = reply.send(Err(why.clone()));
        }
    }
}

#[cfg(test)]
#[path = "batcher_tests.rs"]
mod tests;
