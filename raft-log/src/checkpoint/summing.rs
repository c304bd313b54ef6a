//! Syncing and summing the files of a checkpoint, a chunk at a time.
//!
//! A state's files are mostly hard links to files that earlier checkpoints link too. What such a file holds was summed then, and
//! the file is still the same: the same inode of the same length, not modified since. So its CRCs are carried over, and a
//! checkpoint costs what is new in it and not the whole state. Files are told apart by what this process saw when
//! it summed them; the first checkpoint after a start reads everything. Rot in a file that is not read any more is
//! found by the scrub.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint::error::{CheckpointError, failed};
use crate::checkpoint::manifest::{CHUNK_BYTES, STATE_FOLDER, StateFile, is_plain_name};
use crate::env::{Env, File, FileIdentity, OpenMode};

/// The files of a checkpoint, and what they were when they were summed.
pub(super) struct Summed {
    pub(super) files: Vec<StateFile>,
    pub(super) identities: Vec<FileIdentity>,
}

/// CRCs of files that are known.
pub(super) type Known = BTreeMap<FileIdentity, Vec<u32>>;

/// Files on their way to being summed. All calls block on the disk.
pub(super) struct Summing {
    env: Env,
    state: PathBuf,
    left: VecDeque<String>,
    known: Known,
    current: Option<Current>,
    summed: Summed,
}

/// The file that is read now.
struct Current {
    name: String,
    path: PathBuf,
    file: Arc<dyn File>,
    identity: FileIdentity,
    bytes: u64,
    crcs: Vec<u32>,
}

impl Summing {
    /// Of the files in the folder of a checkpoint; those that are `known` are not read.
    pub(super) fn begin(env: &Env, dir: &Path, known: Known) -> Result<Summing, CheckpointError> {
        let state = dir.join(STATE_FOLDER);
        let names = env.disk.list(&state).map_err(failed("listing", &state))?;
        if let Some(name) = names.iter().find(|name| !is_plain_name(name)) {
            return Err(CheckpointError::Damaged {
                path: state.join(name),
                reason: "its name is no plain one".to_owned(),
            });
        }
        let summed = Summed { files: Vec::new(), identities: Vec::new() };
        Ok(Summing { env: env.clone(), state, left: names.into(), known, current: None, summed })
    }

    /// Reads one chunk, if there is one left to read; says how many bytes it was.
    pub(super) fn step(&mut self) -> Result<Option<usize>, CheckpointError> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(name) = self.left.pop_front() else { return Ok(None) };
                self.open(name)?;
                continue;
            };
            let read = current.step().map_err(failed("reading", &current.path))?;
            if read > 0 {
                return Ok(Some(read));
            }
            let current = self.current.take().expect("it was just read");
            current.file.sync_all().map_err(failed("syncing", &current.path))?;
            self.note(StateFile { name: current.name, bytes: current.bytes, crcs: current.crcs }, current.identity);
        }
    }

    fn open(&mut self, name: String) -> Result<(), CheckpointError> {
        let path = self.state.join(&name);
        let file = self.env.disk.open(&path, OpenMode::Read).map_err(failed("opening", &path))?;
        let identity = file.identity().map_err(failed("looking at", &path))?;
        if let Some(crcs) = self.known.remove(&identity) {
            self.note(StateFile { name, bytes: identity.bytes, crcs }, identity);
            return Ok(());
        }
        self.current = Some(Current { name, path, file, identity, bytes: 0, crcs: Vec::new() });
        Ok(())
    }

    fn note(&mut self, file: StateFile, identity: FileIdentity) {
        self.summed.files.push(file);
        self.summed.identities.push(identity);
    }

    /// All files; none may be left to read.
    pub(super) fn finish(self) -> Result<Summed, CheckpointError> {
        assert!(self.left.is_empty() && self.current.is_none(), "every file is summed");
        self.env.disk.sync_dir(&self.state).map_err(failed("syncing", &self.state))?;
        Ok(self.summed)
    }
}

impl Current {
    /// Sums the next chunk; 0 at the end of the file.
    fn step(&mut self) -> io::Result<usize> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let left = usize::try_from(self.identity.bytes - self.bytes).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        if left > 0 {
            self.file.read_exact_at(&mut buffer[..left], self.bytes)?;
            self.crcs.push(crc32c::crc32c(&buffer[..left]));
            self.bytes += left as u64;
        }
        Ok(left)
    }
}
