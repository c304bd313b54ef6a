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
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use raft_log::types::UnixMillis;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    options::BatcherOptions,
    proposer::Proposer,
    pump,
    shared::{Door, Reply, Shared, Waiting, cost},
    stream_room::TakenRoom,
    submit_error::SubmitError,
};
use crate::{
    limits::{COMMAND_BYTES_MAX, SMALL_COMMAND_BYTES_MAX},
    metrics::Traffic,
    state::{Class, EncodedCommand, Level, Outcome},
};

/// So long after its last publish a node is busy with publishing.
const PUBLISHES_REMEMBERED: Duration = Duration::from_secs(1);

/// Takes commands; cheap to clone.
#[derive(Clone)]
pub struct Batcher {
    shared: Arc<Shared>,
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
        let reply = Reply::new(to, room);
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

#[cfg(test)]
#[path = "batcher_tests.rs"]
mod tests;
