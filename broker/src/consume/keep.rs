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
    state::{Counts, DeliveryKey, EncodedCommand, HeldBack, Holder, NeededBody, StateReader, relocate, sweep, trim_to},
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

/// Rounds in which nothing is found of what is said to hold the start, before that is told: one may have missed what came and went.
const MISSING_ROUNDS_TOLD: u32 = 2;

/// What is to be done for the log next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Queues begin below the readable start.
    Sweep,
    /// These bodies hold the start, and more of them perhaps.
    Move(HeldBack, Vec<NeededBody>),
    /// Nothing holds the start any more.
    Trim(LogIndex),
    /// What holds the start was not among what was looked at so far.
    LookOn,
    /// What is counted as needed is nowhere; not for the first time, if this is news.
    Missing { held: HeldBack, news: bool },
}

impl Step {
    /// What is to be proposed, if anything is.
    fn command(&self) -> Option<EncodedCommand> {
        match self {
            Step::Sweep => Some(sweep()),
            Step::Move(_, bodies) => Some(relocate(bodies)),
            Step::Trim(to) => Some(trim_to(*to)),
            Step::LookOn | Step::Missing { .. } => None,
        }
    }

    fn pause(&self) -> Duration {
        match self {
            Step::Sweep => SWEEP_PAUSE,
            Step::Move(..) | Step::Trim(_) | Step::LookOn => PAUSE,
            Step::Missing { .. } => LOOK_EVERY,
        }
    }
}

/// Where the leader looks next for what holds the start: it goes round over all deliveries, a bounded number at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    at: DeliveryKey,
    /// Whether something was found since the round began.
    found: bool,
    /// Rounds in a row without anything.
    missing: u32,
}

impl Default for Round {
    fn default() -> Round {
        Round { at: DeliveryKey::FIRST, found: false, missing: 0 }
    }
}

impl Round {
    /// The bodies to be moved next.
    fn look(
        &mut self,
        state: &StateReader,
        held: HeldBack,
        read: impl FnMut(LogIndex) -> Result<Bytes, String>,
    ) -> Result<Step, String> {
        let holders = state.holders(held.before, HOLDERS_MAX, self.at).map_err(|error| error.to_string())?;
        let ends = holders.next == DeliveryKey::FIRST;
        if !holders.found.is_empty() {
            let (bodies, all) = needed_bodies(holders.found, read)?;
            (self.found, self.missing) = (!ends || !all, 0);
            // What is left of them is the first of the next look.
            self.at = if all { holders.next } else { self.at };
            return Ok(Step::Move(held, bodies));
        }
        self.at = holders.next;
        if !ends || std::mem::take(&mut self.found) {
            return Ok(Step::LookOn);
        }
        // The letters of a deleted topic are counted until they are erased.
        self.missing = if state.erasing() { 0 } else { self.missing.saturating_add(1) };
        Ok(Step::Missing { held, news: self.missing == MISSING_ROUNDS_TOLD })
    }
}

/// What there is to do, as far as that takes no reading.
enum Due {
    Step(Step),
    /// Something is to be moved, or nothing is found of it.
    Held(HeldBack),
}

fn due(state: &StateReader) -> Option<Due> {
    if state.sweep_due() {
        return Some(Due::Step(Step::Sweep));
    }
    let held = state.held_back()?;
    Some(if held.counts.none() { Due::Step(Step::Trim(held.to)) } else { Due::Held(held) })
}

/// The next step, if there is one; `read` gives the payload of an entry. Blocks.
#[cfg(test)]
pub(crate) fn next_step(
    state: &StateReader,
    round: &mut Round,
    read: impl FnMut(LogIndex) -> Result<Bytes, String>,
) -> Result<Option<Step>, String> {
    match due(state) {
        None => Ok(None),
        Some(Due::Step(step)) => Ok(Some(step)),
        Some(Due::Held(held)) => round.look(state, held, read).map(Some),
    }
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
        let mut round = Round::default();
        loop {
            let pause = match self.find(&mut round).await {
                Some(step) => {
                    tell(&step);
                    let done = match step.command() {
                        Some(command) => self.propose(command).await,
                        None => true,
                    };
                    if done {
                        step.pause()
                    } else {
                        // What was not moved is looked for first.
                        round = Round::default();
                        LOOK_EVERY
                    }
                }
                None => LOOK_EVERY,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks for something to do; beside the runtime where it reads the log and the state's store.
    async fn find(&self, round: &mut Round) -> Option<Step> {
        let held = match due(self.state)? {
            Due::Step(step) => return Some(step),
            Due::Held(held) => held,
        };
        let (state, replica, mut at) = (self.state.clone(), self.replica.clone(), *round);
        let found = tokio::task::spawn_blocking(move || {
            let step = at.look(&state, held, |index| read(&replica, index))?;
            Ok::<_, String>((at, step))
        });
        match found.await.map_err(|error| error.to_string()).and_then(|found| found) {
            Ok((at, step)) => {
                *round = at;
                Some(step)
            }
            Err(error) => {
                tracing::error!(%error, "what holds the log cannot be read; the log grows until it can");
                None
            }
        }
    }

    async fn propose(&self, command: EncodedCommand) -> bool {
        let result = self.batcher.submit(command).await;
        if let Err(error) = &result {
            tracing::debug!(%error, "nothing was done for the log");
        }
        result.is_ok()
    }
}

fn tell(step: &Step) {
    match step {
        Step::Move(HeldBack { to, counts: Counts { deliveries, dead_letters }, .. }, bodies) => {
            tracing::info!(%to, deliveries, dead_letters, moved = bodies.len(), "what holds the log is moved to its end");
        }
        Step::Missing { held: HeldBack { before, counts: Counts { deliveries, dead_letters }, .. }, news: true } => {
            tracing::error!(%before, deliveries, dead_letters, "what is counted as needed is nowhere; the log grows");
        }
        _ => {}
    }
}

fn read(replica: &Replica, index: LogIndex) -> Result<Bytes, String> {
    let mut records = replica.read(index, index.next(), 1).map_err(|error| error.to_string())?;
    Ok(records.pop().ok_or_else(|| format!("entry {index} is not there"))?.payload)
}

/// The first of these bodies, and whether that is all of them.
fn needed_bodies(
    found: Vec<(Position, Holder)>,
    mut read: impl FnMut(LogIndex) -> Result<Bytes, String>,
) -> Result<(Vec<NeededBody>, bool), String> {
    let mut holders: BTreeMap<Position, Vec<Holder>> = BTreeMap::new();
    for (position, holder) in found {
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
            return Ok((bodies, false));
        }
        bodies.push(NeededBody { from, holders, record: payload.slice(start..start + length) });
    }
    Ok((bodies, true))
}
