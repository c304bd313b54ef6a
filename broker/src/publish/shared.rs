//! What those who submit commands and the pump, which makes entries of them, share: the lines, and what they hold.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{lines::Lines, options::BatcherOptions, pipe::Pipe, stream_room::TakenRoom, submit_error::SubmitError};
use crate::{
    limits::COMMAND_OVERHEAD_BYTES,
    metrics::Traffic,
    state::{BatchBuilder, Class, EncodedCommand, Level, Outcome},
};

/// Whoever waits for a command's outcome, and the room that the command takes until it has one, though nobody waits any more.
pub(super) struct Reply {
    to: oneshot::Sender<Result<Outcome, SubmitError>>,
    _room: Option<Arc<TakenRoom>>,
}

impl Reply {
    pub(super) fn new(to: oneshot::Sender<Result<Outcome, SubmitError>>, room: Option<Arc<TakenRoom>>) -> Reply {
        Reply { to, _room: room }
    }

    /// Fails if nobody waits for it.
    pub(super) fn send(self, outcome: Result<Outcome, SubmitError>) -> Result<(), Result<Outcome, SubmitError>> {
        self.to.send(outcome)
    }
}

/// A command in line.
pub(super) struct Waiting {
    pub(super) command: EncodedCommand,
    pub(super) reply: Reply,
    pub(super) since: Instant,
}

/// Where commands come in.
#[derive(Default)]
pub(super) struct Door {
    pub(super) lines: Lines<Waiting>,
    /// When the last publish came.
    pub(super) published: Option<Instant>,
    /// The pump has stopped: nothing may wait any longer.
    pub(super) closed: bool,
}

/// What those who submit and the pump share.
pub(super) struct Shared {
    pub(super) options: BatcherOptions,
    pub(super) door: Mutex<Door>,
    /// What commands that wait or are in flight hold, by class.
    pub(super) held: [AtomicUsize; Class::COUNT],
    pub(super) wake: Notify,
    /// Publishes are refused at the door, so that none shares an entry with what still passes.
    pub(super) full: AtomicBool,
    pub(super) traffic: Traffic,
    pub(super) level: Box<dyn Fn() -> Level + Send + Sync>,
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
pub(super) fn cost(command: &EncodedCommand) -> usize {
    command.bytes() + COMMAND_OVERHEAD_BYTES
}

impl Shared {
    pub(super) fn door(&self) -> std::sync::MutexGuard<'_, Door> {
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
