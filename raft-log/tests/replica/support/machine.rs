//! A state machine that remembers what happened to it, and what its "disk" holds after a restart.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft_log::env::{Env, OpenMode};
use raft_log::types::{LogIndex, UnixMillis};
use raft_log::{
    AppliedPoint, ApplyEntry, ApplyError, ApplyKind, FinishCheckpoint, FinishFlush, FlushNeed, StampReader,
    StateMachine,
};

/// What a command begins with that lets go of the entries below a number; what retention proposes.
pub const TRIM: &str = "trim to ";
/// What a command begins with that holds the log at a number, whatever is trimmed.
pub const HOLD: &str = "hold at ";

/// What a command begins with that carries a stamp behind it.
const STAMPED: &[u8] = b"stamped ";

/// A command of so many bytes with this stamp. No two are equal.
pub fn stamped(stamp: UnixMillis, bytes: usize) -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut command = [STAMPED, &stamp.0.to_le_bytes(), &NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes()].concat();
    command.resize(bytes, 7);
    command
}

/// What a machine has applied.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct State {
    pub point: Option<AppliedPoint>,
    pub commands: Vec<Bytes>,
    pub needed_from: LogIndex,
    pub held_at: Option<LogIndex>,
}

impl State {
    fn command(&mut self, payload: Bytes) {
        let number =
            |prefix: &str| Some(LogIndex(str::from_utf8(payload.strip_prefix(prefix.as_bytes())?).ok()?.parse().ok()?));
        if let Some(to) = number(TRIM) {
            let to = self.held_at.map_or(to, |held| held.min(to));
            self.needed_from = self.needed_from.max(to);
        } else if let Some(at) = number(HOLD) {
            self.held_at = Some(at);
        }
        self.commands.push(payload);
    }

    fn encode(&self) -> BytesMut {
        let mut out = BytesMut::new();
        self.point.as_ref().unwrap().encode_into(&mut out);
        out.put_u64_le(self.needed_from.0);
        out.put_u64_le(self.held_at.map_or(u64::MAX, |at| at.0));
        out.put_u64_le(self.commands.len() as u64);
        for command in &self.commands {
            out.put_u64_le(command.len() as u64);
            out.put_slice(command);
        }
        out
    }

    fn decode(mut input: &[u8]) -> State {
        let point = AppliedPoint::decode_from(&mut input);
        let needed_from = LogIndex(input.get_u64_le());
        let held_at = Some(LogIndex(input.get_u64_le())).filter(|at| at.0 != u64::MAX);
        let count = input.get_u64_le();
        let mut command = || {
            let length = input.get_u64_le() as usize;
            Bytes::copy_from_slice(input.split_off(..length).unwrap())
        };
        let commands = (0..count).map(|_| command()).collect();
        State { point, commands, needed_from, held_at }
    }
}

#[derive(Default, Debug)]
pub struct Inside {
    /// Where checkpoints are written; the real files unless a test gives others.
    pub env: Option<Env>,
    pub state: State,
    /// What survives a restart.
    pub flushed: State,
    pub flush_always: bool,
    pub flushes: usize,
    pub resets: usize,
    pub checkpoints: usize,
    pub restores: usize,
    /// While `Some`, the next apply blocks until the sender is dropped.
    pub hold: Option<std::sync::mpsc::Receiver<()>>,
    /// While `Some`, the next flush or checkpoint takes until the sender is dropped.
    pub hold_flush: Option<std::sync::mpsc::Receiver<()>>,
    pub fail_next: bool,
}

#[derive(Clone, Default, Debug)]
pub struct Machine {
    inside: Arc<Mutex<Inside>>,
}

impl Machine {
    pub fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    /// The machine after a restart: only what was flushed is there.
    pub fn reopened(&self) -> Machine {
        let inside = self.inside();
        let state = inside.flushed.clone();
        let again = Inside {
            env: inside.env.clone(),
            state: state.clone(),
            flushed: state,
            flush_always: inside.flush_always,
            ..Inside::default()
        };
        Machine { inside: Arc::new(Mutex::new(again)) }
    }

    fn wait_on(&self, hold: impl FnOnce(&mut Inside) -> Option<std::sync::mpsc::Receiver<()>>) {
        let hold = hold(&mut self.inside());
        if let Some(hold) = hold {
            let _ = hold.recv();
        }
    }

    pub fn commands(&self) -> Vec<Bytes> {
        self.inside().state.commands.clone()
    }
}

impl StateMachine for Machine {
    fn applied(&self) -> Option<AppliedPoint> {
        self.inside().state.point.clone()
    }

    fn apply(&mut self, entries: Vec<ApplyEntry>) -> Result<Vec<Bytes>, ApplyError> {
        self.wait_on(|inside| inside.hold.take());
        let mut inside = self.inside();
        if std::mem::take(&mut inside.fail_next) {
            return Err(ApplyError::new("it was told to fail"));
        }
        let mut responses = Vec::new();
        for entry in entries {
            let mut membership = inside.state.point.take().and_then(|point| point.membership);
            let mut response = Bytes::new();
            match entry.kind {
                ApplyKind::Blank => {}
                ApplyKind::Membership(of) => membership = Some((entry.id, of.encode())),
                ApplyKind::Command(payload) => {
                    response = Bytes::from(format!("applied {} bytes", payload.len()));
                    inside.state.command(payload);
                }
            }
            inside.state.point = Some(AppliedPoint { id: entry.id, membership });
            responses.push(response);
        }
        Ok(responses)
    }

    fn flush_need(&self) -> FlushNeed {
        if self.inside().flush_always { FlushNeed::Due } else { FlushNeed::None }
    }

    fn begin_flush(&mut self) -> Result<FinishFlush, ApplyError> {
        let (machine, state) = (self.clone(), self.inside().state.clone());
        Ok(Box::new(move || {
            machine.wait_on(|inside| inside.hold_flush.take());
            let mut inside = machine.inside();
            inside.flushed = state;
            inside.flushes += 1;
            Ok(())
        }))
    }

    fn reset(&mut self) -> Result<(), ApplyError> {
        let mut inside = self.inside();
        inside.state = State::default();
        inside.flushed = State::default();
        inside.resets += 1;
        Ok(())
    }

    fn needed_from(&self) -> LogIndex {
        self.inside().state.needed_from
    }

    fn trim_command(&self, to: LogIndex) -> Option<Bytes> {
        Some(Bytes::from(format!("{TRIM}{to}")))
    }

    fn stamp_reader(&self) -> Option<StampReader> {
        Some(|command| {
            let stamp = command.strip_prefix(STAMPED)?.first_chunk()?;
            Some(UnixMillis(u64::from_le_bytes(*stamp)))
        })
    }

    fn begin_checkpoint(&mut self) -> Result<FinishCheckpoint, ApplyError> {
        let (machine, bytes) = (self.clone(), self.inside().state.encode());
        Ok(Box::new(move |dir| {
            let failed = |error: std::io::Error| ApplyError::new(error.to_string());
            machine.wait_on(|inside| inside.hold_flush.take());
            let env = machine.inside().env.clone().unwrap_or_else(Env::real);
            let file = env.disk.open(&dir.join("state"), OpenMode::CreateNew).map_err(failed)?;
            file.write_all_at(&bytes, 0).map_err(failed)?;
            machine.inside().checkpoints += 1;
            Ok(())
        }))
    }

    fn restore(&mut self, dir: &Path) -> Result<(), ApplyError> {
        let failed = |error: std::io::Error| ApplyError::new(error.to_string());
        let mut inside = self.inside();
        let env = inside.env.clone().unwrap_or_else(Env::real);
        let file = env.disk.open(&dir.join("state"), OpenMode::Read).map_err(failed)?;
        let mut bytes = vec![0; file.byte_len().map_err(failed)? as usize];
        file.read_exact_at(&mut bytes, 0).map_err(failed)?;
        inside.state = State::decode(&bytes);
        inside.flushed = inside.state.clone();
        inside.restores += 1;
        Ok(())
    }
}
