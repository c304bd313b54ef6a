//! The state machine of the simulation: it remembers every command.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use raft_log::env::sim::SimDisk;
use raft_log::sim::observe::{self, Deed, Entry};
use raft_log::types::{LogId, LogIndex, Term};
use raft_log::{
    AppliedPoint, ApplyEntry, ApplyError, ApplyKind, FinishCheckpoint, FinishFlush, FlushNeed, RecordKind, StampReader,
    StateMachine,
};

use crate::history::{TRIM, number_of, stamp_of};
use crate::settings::Settings;
use crate::store::Store;

/// Flushes that may be due before nothing is applied any more.
const OVERDUE_FLUSHES: u64 = 4;

/// A command of a client that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Where it stands.
    pub id: LogId,
    /// The proposal.
    pub number: u64,
    /// The CRC of its payload.
    pub payload_crc: u32,
}

/// Everything that was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How far.
    pub point: Option<AppliedPoint>,
    /// Entries below this need not stay readable.
    pub needed_from: LogIndex,
    /// The commands of clients, in order.
    pub commands: Vec<Command>,
    /// Of all of them, and of what is needed.
    pub digest: u64,
}

/// Mixes a number into a digest (FNV-1a's prime, rotated so that all bits count).
fn mix(digest: u64, number: u64) -> u64 {
    (digest ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
}

impl State {
    fn mix(&mut self, number: u64) {
        self.digest = mix(self.digest, number);
    }

    fn tell_digest(&self) {
        if let Some(point) = &self.point {
            let members = point.membership.as_ref().map_or(0, |(id, _)| id.index.0);
            observe::observe(Deed::Digest(point.id, mix(self.digest, members)));
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = BytesMut::new();
        self.point.as_ref().expect("a checkpoint is made of something").encode_into(&mut out);
        out.put_u64_le(self.needed_from.0);
        out.put_u64_le(self.digest);
        for command in &self.commands {
            out.put_u64_le(command.id.term.0);
            out.put_u64_le(command.id.index.0);
            out.put_u64_le(command.number);
            out.put_u32_le(command.payload_crc);
        }
        out.to_vec()
    }

    fn decode(mut input: &[u8]) -> Option<State> {
        let point = Some(AppliedPoint::decode_from(&mut input)?);
        let needed_from = LogIndex(input.try_get_u64_le().ok()?);
        let digest = input.try_get_u64_le().ok()?;
        let mut commands = Vec::new();
        while !input.is_empty() {
            let (term, index) = (input.try_get_u64_le().ok()?, input.try_get_u64_le().ok()?);
            let id = LogId { term: Term(term), index: LogIndex(index) };
            let (number, payload_crc) = (input.try_get_u64_le().ok()?, input.try_get_u32_le().ok()?);
            commands.push(Command { id, number, payload_crc });
        }
        Some(State { point, needed_from, commands, digest })
    }
}

/// What a node's state holds now and what of it survives the process; clones are the same.
#[derive(Clone, Debug)]
pub struct Machine {
    inside: Arc<Mutex<Inside>>,
    store: Store,
    /// Commands carry stamps.
    stamped: bool,
}

#[derive(Debug, Default)]
struct Inside {
    now: State,
    flush_every: u64,
    unflushed: u64,
}

/// The answer to a command, by which a client knows that it is the answer to its own.
#[must_use]
pub fn response_to(payload: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&number_of(payload).to_le_bytes())
}

impl Machine {
    /// The state that this disk holds, in one life of a process.
    ///
    /// # Errors
    /// The disk's machine loses its power meanwhile.
    ///
    /// # Panics
    /// When what a flush has written does not decode.
    pub fn open(settings: &Settings, disk: &Arc<SimDisk>) -> io::Result<Machine> {
        let store = Store::new(disk);
        let now = store.load()?.map(|bytes| State::decode(&bytes).expect("it was written whole"));
        let inside = Inside { now: now.unwrap_or_default(), flush_every: settings.flush_every, unflushed: 0 };
        Ok(Machine { inside: Arc::new(Mutex::new(inside)), store, stamped: settings.are_stamped() })
    }

    /// What is applied now.
    #[must_use]
    pub fn state(&self) -> State {
        self.inside().now.clone()
    }

    /// The last applied index.
    #[must_use]
    pub fn applied(&self) -> Option<LogIndex> {
        self.inside().now.point.as_ref().map(|point| point.id.index)
    }

    /// What a flush or a checkpoint that begins now persists.
    fn begin(&self) -> State {
        let mut inside = self.inside();
        inside.unflushed = 0;
        inside.now.clone()
    }

    fn save(&self, state: &State) -> Result<(), ApplyError> {
        let Some(point) = &state.point else { return Ok(()) };
        self.store.save(&state.encode()).map_err(failed)?;
        observe::observe(Deed::Flushed(point.id));
        state.tell_digest();
        Ok(())
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn take(&mut self, id: LogId, payload: &Bytes) {
        let number = number_of(payload);
        if number != TRIM {
            let payload_crc = raft_log::sim::payload_crc(payload);
            self.now.commands.push(Command { id, number, payload_crc });
            [id.term.0, id.index.0, number, u64::from(payload_crc)].into_iter().for_each(|part| self.now.mix(part));
            return;
        }
        let to = payload.get(8..).and_then(|mut to| to.try_get_u64_le().ok()).unwrap_or(0);
        if LogIndex(to) > self.now.needed_from {
            self.now.needed_from = LogIndex(to);
            self.now.mix(to);
            observe::observe(Deed::Trimmed(LogIndex(to)));
        }
    }
}

impl StateMachine for Machine {
    fn applied(&self) -> Option<AppliedPoint> {
        self.inside().now.point.clone()
    }

    fn apply(&mut self, entries: Vec<ApplyEntry>) -> Result<Vec<Bytes>, ApplyError> {
        let mut inside = self.inside();
        let mut responses = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut membership = inside.now.point.take().and_then(|point| point.membership);
            let (kind, payload, response) = match entry.kind {
                ApplyKind::Blank => (RecordKind::Blank, Bytes::new(), Bytes::new()),
                ApplyKind::Membership(of) => {
                    membership = Some((entry.id, of.encode()));
                    (RecordKind::Membership, of.encode(), Bytes::new())
                }
                ApplyKind::Command(payload) => {
                    inside.take(entry.id, &payload);
                    let response = response_to(&payload);
                    (RecordKind::Command, payload, response)
                }
            };
            let payload_crc = raft_log::sim::payload_crc(&payload);
            observe::observe(Deed::Applied(Entry { id: entry.id, kind, payload_crc }, payload));
            inside.now.point = Some(AppliedPoint { id: entry.id, membership });
            inside.unflushed += 1;
            responses.push(response);
        }
        Ok(responses)
    }

    fn flush_need(&self) -> FlushNeed {
        let inside = self.inside();
        if inside.unflushed >= inside.flush_every * OVERDUE_FLUSHES {
            FlushNeed::Overdue
        } else if inside.unflushed >= inside.flush_every {
            FlushNeed::Due
        } else {
            FlushNeed::None
        }
    }

    fn begin_flush(&mut self) -> Result<FinishFlush, ApplyError> {
        let (machine, state) = (self.clone(), self.begin());
        Ok(Box::new(move || machine.save(&state)))
    }

    fn reset(&mut self) -> Result<(), ApplyError> {
        self.store.clear().map_err(failed)?;
        self.inside().now = State::default();
        observe::observe(Deed::Reset);
        Ok(())
    }

    fn needed_from(&self) -> LogIndex {
        self.inside().now.needed_from
    }

    fn trim_command(&self, to: LogIndex) -> Option<Bytes> {
        let mut payload = BytesMut::new();
        payload.put_u64_le(TRIM);
        payload.put_u64_le(to.0);
        Some(payload.freeze())
    }

    fn stamp_reader(&self) -> Option<StampReader> {
        self.stamped.then_some(stamp_of)
    }

    fn begin_checkpoint(&mut self) -> Result<FinishCheckpoint, ApplyError> {
        let (machine, state) = (self.clone(), self.begin());
        Ok(Box::new(move |dir| {
            machine.save(&state)?;
            machine.store.write_checkpoint(&dir.join(STATE), &state.encode()).map_err(failed)?;
            if let Some(point) = &state.point {
                observe::observe(Deed::Checkpointed(point.id));
            }
            Ok(())
        }))
    }

    fn restore(&mut self, dir: &Path) -> Result<(), ApplyError> {
        let bytes = self.store.read_checkpoint(&dir.join(STATE)).map_err(failed)?;
        let state = State::decode(&bytes).ok_or_else(|| ApplyError::new("the checkpoint does not decode"))?;
        self.store.save(&bytes).map_err(failed)?;
        if let Some(point) = &state.point {
            observe::observe(Deed::Restored(point.id));
        }
        state.tell_digest();
        observe::observe(Deed::Trimmed(state.needed_from));
        let mut inside = self.inside();
        (inside.now, inside.unflushed) = (state, 0);
        Ok(())
    }
}

/// The one file of a checkpoint.
const STATE: &str = "state";

fn failed(error: std::io::Error) -> ApplyError {
    ApplyError::new(error.to_string())
}
