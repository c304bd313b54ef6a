//! The state machine as raft-log drives it.

use std::path::Path;

use bytes::Bytes;
use raft_log::{AppliedPoint, ApplyEntry, ApplyError, StateMachine};

use super::reader::StateReader;

/// Why the state does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenStateError {
    /// The store does not open, or does not read.
    #[error("the state in {folder} does not open: {reason}")]
    Store {
        /// Its folder.
        folder: String,
        /// What RocksDB says.
        reason: String,
    },
    /// Another version wrote it.
    #[error("the state in {folder} has format {found}, this version reads {known}")]
    Version {
        /// Its folder.
        folder: String,
        /// The format found.
        found: u32,
        /// The format known.
        known: u32,
    },
    /// A record in it is damaged.
    #[error("the state in {folder} is damaged: {reason}")]
    Damaged {
        /// Its folder.
        folder: String,
        /// Which record, and how.
        reason: String,
    },
}

/// The state machine of a broker group.
#[derive(Debug)]
pub struct State {
    reader: StateReader,
}

impl State {
    /// Opens the state in a folder, made if it is not there.
    ///
    /// # Errors
    /// See [`OpenStateError`]. Nothing is changed then.
    pub fn open(folder: &Path) -> Result<State, OpenStateError> {
        let _ = folder;
        Ok(State { reader: StateReader::default() })
    }

    /// The view for everybody else; cheap to clone.
    #[must_use]
    pub fn reader(&self) -> StateReader {
        self.reader.clone()
    }
}

impl StateMachine for State {
    fn applied(&self) -> Option<AppliedPoint> {
        None
    }

    fn apply(&mut self, entries: Vec<ApplyEntry>) -> Result<Vec<Bytes>, ApplyError> {
        let _ = entries;
        Err(ApplyError::new("the state machine is not built yet"))
    }

    fn wants_flush(&self) -> bool {
        false
    }

    fn flush(&mut self) -> Result<(), ApplyError> {
        Ok(())
    }

    fn reset(&mut self) -> Result<(), ApplyError> {
        Ok(())
    }
}
