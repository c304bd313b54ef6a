//! What the leader does for the log's sake: moves what is still needed to its end, so that retention can let go of what lies
//! before, and lets the queues follow the readable start (hazards 23, 24).
//!
//! Both are proposals of bounded size, one at a time; whether something is still needed is decided in `apply`.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use raft_log::{Replica, types::LogIndex};

use crate::{
    model::Position,
    publish::Batcher,
    state::{EncodedCommand, HeldBack, Holder, NeededBody, StateReader, relocate, sweep, trim_to},
};

/// How often it looks whether the start is held or queues lag behind it.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Holders, and bytes of bodies, that one command moves.
const HOLDERS_MAX: usize = if cfg!(test) { 32 } else { 1024 };
const BYTES_MAX: usize = 1 << 20;
/// After each of them: so what is moved takes a part of the log's bandwidth only.
const PAUSE: Duration = Duration::from_millis(50);
/// After a sweep: other commands come in between.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);

/// What is to be done for the log next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Queues begin below the readable start.
    Sweep,
    /// These bodies hold the start, and more of them perhaps.
    Move(HeldBack, Vec<NeededBody>),
    /// Nothing holds the start any more.
    Trim(LogIndex),
}

impl Step {
    fn command(&self) -> EncodedCommand {
        match self {
            Step::Sweep => sweep(),
            Step::Move(_, bodies) => relocate(bodies),
            Step::Trim(to) => trim_to(*to),
        }
    }

    fn pause(&self) -> Duration {
        match self {
            Step::Sweep => SWEEP_PAUSE,
            Step::Move(..) | Step::Trim(_) => PAUSE,
        }
    }
}

/// The next step, if there is one; `read` gives the payload of an entry. Blocks.
pub(crate) fn next_step(
    state: &StateReader,
    read: impl FnMut(LogIndex) -> Result<Bytes, String>,
) -> Result<Option<Step>, String> {
    if state.sweep_due() {
        return Ok(Some(Step::Sweep));
    }
    let Some(held) = state.held_back() else { return Ok(None) };
    let bodies = needed_bodies(state, held.before, read)?;
    Ok(Some(if bodies.is_empty() { Step::Trim(held.to) } else { Step::Move(held, bodies) }))
}

/// The leader's work for the log.
pub(super) struct Keeper<'a> {
    pub(super) replica: &'a Replica,
    pub(super) state: &'a StateReader,
    pub(super) batcher: &'a Batcher,
}

impl Keeper<'_> {
    /// Works until it is dropped.
    pub(super) async fn run(self) {
        loop {
            let pause = match self.find().await {
                Some(step) if self.propose(step.command()).await => step.pause(),
                _ => LOOK_EVERY,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks for something to do; beside the runtime, for it reads the log and the state's store.
    async fn find(&self) -> Option<Step> {
        if !self.state.sweep_due() && self.state.held_back().is_none() {
            return None;
        }
        let (state, replica) = (self.state.clone(), self.replica.clone());
        let found = tokio::task::spawn_blocking(move || next_step(&state, |index| read(&replica, index))).await;
        let step = match found.map_err(|error| error.to_string()).and_then(|found| found) {
            Ok(step) => step?,
            Err(error) => {
                tracing::error!(%error, "what holds the log cannot be read; the log grows until it can");
                return None;
            }
        };
        if let Step::Move(HeldBack { to, deliveries, dead_letters, .. }, bodies) = &step {
            tracing::info!(%to, deliveries, dead_letters, moved = bodies.len(), "what holds the log is moved to its end");
        }
        Some(step)
    }

    async fn propose(&self, command: EncodedCommand) -> bool {
        let result = self.batcher.submit(command).await;
        if let Err(error) = &result {
            tracing::debug!(%error, "nothing was done for the log");
        }
        result.is_ok()
    }
}

fn read(replica: &Replica, index: LogIndex) -> Result<Bytes, String> {
    let mut records = replica.read(index, index.next(), 1).map_err(|error| error.to_string())?;
    Ok(records.pop().ok_or_else(|| format!("entry {index} is not there"))?.payload)
}

/// The first bodies in entries before this one that somebody needs.
fn needed_bodies(
    state: &StateReader,
    before: LogIndex,
    mut read: impl FnMut(LogIndex) -> Result<Bytes, String>,
) -> Result<Vec<NeededBody>, String> {
    let mut holders: BTreeMap<Position, Vec<Holder>> = BTreeMap::new();
    for (position, holder) in state.holders(before, HOLDERS_MAX).map_err(|error| error.to_string())? {
        holders.entry(position).or_default().push(holder);
    }
    let (mut bodies, mut bytes) = (Vec::new(), 0);
    let mut entry: Option<(LogIndex, Bytes)> = None;
    for (from, holders) in holders {
        if entry.as_ref().is_none_or(|(index, _)| *index != from.index) {
            entry = Some((from.index, read(from.index)?));
        }
        let payload = &entry.as_ref().expect("read above").1;
        let (start, length) = (from.offset as usize, from.length as usize);
        if start + length > payload.len() {
            return Err(format!("entry {} ends before a message in it", from.index));
        }
        bytes += length;
        if bytes > BYTES_MAX && !bodies.is_empty() {
            break;
        }
        bodies.push(NeededBody { from, holders, record: payload.slice(start..start + length) });
    }
    Ok(bodies)
}
