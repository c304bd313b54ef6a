//! A state machine that remembers what happened to it, and what its "disk" holds after a restart.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use raft_log::{AppliedPoint, ApplyEntry, ApplyError, ApplyKind, StateMachine};

/// What a machine has applied.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct State {
    pub point: Option<AppliedPoint>,
    pub commands: Vec<Bytes>,
}

#[derive(Default, Debug)]
pub struct Inside {
    pub state: State,
    /// What survives a restart.
    pub flushed: State,
    pub flush_always: bool,
    pub flushes: usize,
    pub resets: usize,
    /// While `Some`, apply blocks until the sender is dropped.
    pub hold: Option<std::sync::mpsc::Receiver<()>>,
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
        let again =
            Inside { state: state.clone(), flushed: state, flush_always: inside.flush_always, ..Inside::default() };
        Machine { inside: Arc::new(Mutex::new(again)) }
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
        let hold = self.inside().hold.take();
        if let Some(hold) = hold {
            let _ = hold.recv();
        }
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
                    inside.state.commands.push(payload);
                }
            }
            inside.state.point = Some(AppliedPoint { id: entry.id, membership });
            responses.push(response);
        }
        Ok(responses)
    }

    fn wants_flush(&self) -> bool {
        self.inside().flush_always
    }

    fn flush(&mut self) -> Result<(), ApplyError> {
        let mut inside = self.inside();
        inside.flushed = inside.state.clone();
        inside.flushes += 1;
        Ok(())
    }

    fn reset(&mut self) -> Result<(), ApplyError> {
        let mut inside = self.inside();
        inside.state = State::default();
        inside.flushed = State::default();
        inside.resets += 1;
        Ok(())
    }
}
