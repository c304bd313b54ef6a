//! A replica: the broker's state machine on a store of its own, the part of the log that it has, and its checkpoints.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use raft_log::types::LogIndex;
use raft_log::{FinishCheckpoint, FinishFlush, StateMachine};

use super::log::Log;
use crate::state::{State, StateReader};

/// Entries between two checkpoints.
const CHECKPOINT_EVERY: u64 = 25;
/// Checkpoints that a replica keeps.
const KEPT_MAX: usize = 3;

/// A checkpoint that is whole.
#[derive(Clone, Debug)]
struct Kept {
    /// Its last entry.
    at: u64,
    folder: PathBuf,
}

/// What a replica persists at the moment, beside applying.
enum Persisting {
    Flush(FinishFlush),
    Checkpoint(u64, FinishCheckpoint),
}

/// See the module.
pub(super) struct Node {
    root: PathBuf,
    /// Nothing while it is down.
    state: Option<State>,
    persisting: Option<Persisting>,
    kept: Vec<Kept>,
    /// Number of the next folder of a checkpoint.
    folders: u64,
    /// The first entry of its log.
    pub(super) first: u64,
    /// Behind the last entry of its log.
    pub(super) has: u64,
    /// What it knows to be committed ends here.
    pub(super) knows: u64,
    /// Checkpoints that it got from others.
    pub(super) installs: u64,
}

/// What an entry did on a replica.
pub(super) struct AppliedEntry {
    pub(super) index: u64,
    pub(super) response: Bytes,
    /// Of the rolling digest; only behind the last entry of a call the state says it.
    pub(super) digest: u64,
}

impl Node {
    /// With an empty folder of its own under `root`.
    pub(super) fn new(root: &Path) -> Node {
        std::fs::create_dir_all(root).expect("a folder for a replica");
        let (root, kept) = (root.to_owned(), Vec::new());
        let mut node =
            Node { root, state: None, persisting: None, kept, folders: 0, first: 0, has: 0, knows: 0, installs: 0 };
        node.start();
        node
    }

    fn folder(&self) -> PathBuf {
        self.root.join("state")
    }

    fn up(&mut self) -> &mut State {
        self.state.as_mut().expect("the replica is up")
    }

    pub(super) fn is_up(&self) -> bool {
        self.state.is_some()
    }

    pub(super) fn reader(&self) -> StateReader {
        self.state.as_ref().expect("the replica is up").reader()
    }

    /// The state's own view of itself.
    pub(super) fn state(&self) -> &State {
        self.state.as_ref().expect("the replica is up")
    }

    /// The next entry to apply.
    pub(super) fn next(&self) -> u64 {
        self.state().applied().map_or(0, |point| point.id.index.0 + 1)
    }

    /// The process ends; what no flush has persisted is gone. What is being persisted RocksDB finishes on threads of its own, or
    /// not, as it happens; here it does, because without it the crash is one that came before.
    pub(super) fn crash(&mut self) {
        self.finish();
        self.state = None;
    }

    /// It starts again. A state that is behind its log is a checkpoint first.
    pub(super) fn start(&mut self) {
        self.state = Some(State::open(&self.folder()).expect("the state opens"));
        if self.next() < self.first {
            let newest = self.kept.last().expect("a log is purged to a kept checkpoint").folder.clone();
            self.up().restore(&newest).expect("a kept checkpoint is a state");
        }
    }

    /// Its state is gone, as when it was ahead of a log that lost its end.
    pub(super) fn lose_state(&mut self) {
        self.finish();
        self.up().reset().expect("the state is emptied");
        self.state = None;
        self.start();
    }

    /// Applies up to `count` entries that it knows to be committed, in one call.
    pub(super) fn apply(&mut self, log: &Log, count: u64) -> Vec<AppliedEntry> {
        let from = self.next();
        let end = self.knows.min(self.has).min(from + count);
        assert!(from >= self.first, "entries are there to be applied");
        if from >= end {
            return Vec::new();
        }
        let entries: Vec<_> = (from..end).map(|index| log.entry(index).apply.clone()).collect();
        let responses = self.up().apply(entries).expect("the state follows the log");
        let reader = self.reader();
        let digest = |index| reader.digest_at(LogIndex(index)).expect("just applied").digest;
        (from..end)
            .zip(responses)
            .map(|(index, response)| AppliedEntry { index, response, digest: digest(index) })
            .collect()
    }

    /// Begins a flush or a checkpoint, unless one is under way.
    pub(super) fn persist(&mut self, checkpoint: bool) {
        if self.persisting.is_some() || self.state().applied().is_none() {
            return;
        }
        let at = self.next() - 1;
        self.persisting = Some(if checkpoint {
            Persisting::Checkpoint(at, self.up().begin_checkpoint().expect("a checkpoint begins"))
        } else {
            Persisting::Flush(self.up().begin_flush().expect("a flush begins"))
        });
    }

    /// Ends what it persists.
    pub(super) fn finish(&mut self) {
        match self.persisting.take() {
            None => {}
            Some(Persisting::Flush(finish)) => finish().expect("a flush ends"),
            Some(Persisting::Checkpoint(at, finish)) => {
                let folder = self.new_folder();
                finish(&folder).expect("a checkpoint ends");
                self.keep(Kept { at, folder });
            }
        }
    }

    fn new_folder(&mut self) -> PathBuf {
        self.folders += 1;
        let folder = self.root.join(format!("checkpoint-{}", self.folders));
        std::fs::create_dir(&folder).expect("a new folder");
        folder
    }

    fn keep(&mut self, kept: Kept) {
        self.kept.push(kept);
        self.forget();
    }

    /// Keeps the checkpoint at which the log begins and a few newer ones, with the oldest of them: to that the log is purged next.
    fn forget(&mut self) {
        let first = self.first;
        let mut gone: Vec<Kept> = self.kept.extract_if(.., |kept| kept.at + 1 < first).collect();
        if self.kept.len() > KEPT_MAX {
            gone.push(self.kept.remove(KEPT_MAX - 1));
        }
        for kept in gone {
            std::fs::remove_dir_all(&kept.folder).expect("an older checkpoint goes");
        }
    }

    /// Whether it is time for a checkpoint, as at each roll of a segment.
    pub(super) fn wants_checkpoint(&self) -> bool {
        self.next() > CHECKPOINT_EVERY + self.kept.last().map_or(0, |kept| kept.at)
    }

    /// Lets go of the entries that a kept checkpoint covers and that nobody needs.
    pub(super) fn purge(&mut self) {
        let needed = self.state().needed_from().0;
        if let Some(to) = self.kept.iter().map(|kept| kept.at + 1).filter(|end| *end <= needed).max()
            && to > self.first
        {
            self.first = to;
            self.forget();
        }
    }

    /// Takes the checkpoint at which another's log begins, because entries that it lacks are not there any more. `interrupted`: it
    /// crashes when half of it is done, and begins again.
    pub(super) fn install(&mut self, from: &Node, interrupted: bool) {
        let at = from.kept.iter().find(|kept| kept.at + 1 == from.first).expect("a log is purged to a kept checkpoint");
        let folder = self.new_folder();
        for file in std::fs::read_dir(&at.folder).expect("a checkpoint") {
            let file = file.expect("a file of a checkpoint");
            std::fs::copy(file.path(), folder.join(file.file_name())).expect("it comes over the network");
        }
        self.finish();
        if interrupted {
            self.state().prepare_restore()(&folder).expect("what came is a state");
            self.state = None;
            self.state = Some(State::open(&self.folder()).expect("the state opens"));
        }
        self.state().prepare_restore()(&folder).expect("what came is a state");
        self.up().restore(&folder).expect("what came is a state");
        (self.first, self.has, self.knows) = (from.first, from.first, self.knows.max(from.first));
        self.installs += 1;
        self.keep(Kept { at: at.at, folder });
    }

    /// The payload of an entry of its own log.
    pub(super) fn read(&self, log: &Log, index: LogIndex) -> Result<Bytes, String> {
        if index.0 < self.first || index.0 >= self.has {
            return Err(format!("entry {index} is needed and not in the log, which begins at {}", self.first));
        }
        log.payload(index).ok_or_else(|| format!("entry {index} holds no commands"))
    }
}
