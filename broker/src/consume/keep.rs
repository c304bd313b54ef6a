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
const HOLDERS_MAX: usize = 1024;
const BYTES_MAX: usize = 1 << 20;
/// After each of them: so what is moved takes a part of the log's bandwidth only.
const PAUSE: Duration = Duration::from_millis(50);
/// After a sweep: other commands come in between.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);

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
            while self.state.sweep_due() && self.propose(sweep()).await {
                tokio::time::sleep(SWEEP_PAUSE).await;
            }
            match self.state.held_back() {
                Some(held) if self.let_go(held).await => tokio::time::sleep(PAUSE).await,
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Moves some of what holds the start, or the start itself when nothing does any more. Whether something was done.
    async fn let_go(&self, held: HeldBack) -> bool {
        let (state, replica) = (self.state.clone(), self.replica.clone());
        let found = tokio::task::spawn_blocking(move || needed_bodies(&state, &replica, held.before)).await;
        match found.map_err(|error| error.to_string()).and_then(|found| found) {
            Ok(bodies) if bodies.is_empty() => self.propose(trim_to(held.to)).await,
            Ok(bodies) => {
                let HeldBack { to, deliveries, dead_letters, .. } = held;
                tracing::info!(%to, deliveries, dead_letters, moved = bodies.len(), "what holds the log is moved to its end");
                self.propose(relocate(&bodies)).await
            }
            Err(error) => {
                tracing::error!(%error, "what holds the log cannot be read; the log grows until it can");
                false
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

/// The first bodies in entries before this one that somebody needs.
fn needed_bodies(state: &StateReader, replica: &Replica, before: LogIndex) -> Result<Vec<NeededBody>, String> {
    let mut holders: BTreeMap<Position, Vec<Holder>> = BTreeMap::new();
    for (position, holder) in state.holders(before, HOLDERS_MAX).map_err(|error| error.to_string())? {
        holders.entry(position).or_default().push(holder);
    }
    let (mut bodies, mut bytes) = (Vec::new(), 0);
    let mut entry: Option<(LogIndex, Bytes)> = None;
    for (from, holders) in holders {
        if entry.as_ref().is_none_or(|(index, _)| *index != from.index) {
            let mut records = replica.read(from.index, from.index.next(), 1).map_err(|error| error.to_string())?;
            let record = records.pop().ok_or_else(|| format!("entry {} is not there", from.index))?;
            entry = Some((from.index, record.payload));
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
