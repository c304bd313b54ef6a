//! Files of released segments on their way out.
//!
//! To unlink a large file holds up the file system's journal, and with it every sync of every log on the disk: 40 ms for
//! 256 MiB here, against 5 ms when the file is shortened step by step before (ext4 that discards what is freed). So that
//! is how the worker of the [`Preparer`](super::Preparer) does it. The manifest does not list such a file any more: what a
//! crash leaves of it is removed at open.

use crate::env::{Disk, File};
use crate::storage::Done;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// How much of a file goes at once.
const STEP_BYTES: u64 = 16 << 20;

/// One file to remove.
pub(super) struct Doomed {
    pub(super) path: PathBuf,
    /// The file, if nobody else holds it or its memory: only then may it be shortened.
    pub(super) sole: Option<Arc<dyn File>>,
    /// Its length, unless it was shortened already.
    pub(super) bytes: u64,
}

/// What is still to be removed, oldest first. Bounded by the segments that a log has.
#[derive(Default)]
pub(super) struct Removals(VecDeque<Removal>);

/// One piece of the work.
pub(super) enum Removal {
    File(Doomed),
    /// All files before it are gone.
    Done(Done),
}

impl Removals {
    pub(super) fn push(&mut self, files: Vec<Doomed>, done: Done) {
        self.0.extend(files.into_iter().map(Removal::File));
        self.0.push_back(Removal::Done(done));
    }

    /// What to do next; whoever takes it performs it without holding a lock.
    pub(super) fn next(&mut self) -> Option<Removal> {
        self.0.pop_front()
    }

    /// What a step left.
    pub(super) fn go_on(&mut self, doomed: Doomed) {
        self.0.push_front(Removal::File(doomed));
    }
}

impl Removal {
    /// One step of it; gives back what is left to do.
    pub(super) fn step(self, disk: &dyn Disk) -> Option<Doomed> {
        match self {
            Removal::File(doomed) => doomed.step(disk),
            Removal::Done(done) => {
                done(Ok(()));
                None
            }
        }
    }

    /// All of it.
    pub(super) fn finish(self, disk: &dyn Disk) {
        let mut left = self.step(disk);
        while let Some(doomed) = left {
            left = doomed.step(disk);
        }
    }
}

impl Doomed {
    fn step(mut self, disk: &dyn Disk) -> Option<Doomed> {
        if let Some(file) = &self.sole
            && self.bytes > STEP_BYTES
        {
            self.bytes -= STEP_BYTES;
            match file.shorten(self.bytes) {
                Ok(()) => return Some(self),
                Err(error) => self.warn(&error),
            }
        }
        if let Err(error) = disk.remove(&self.path) {
            self.warn(&error);
        }
        None
    }

    fn warn(&self, error: &io::Error) {
        tracing::warn!(file = %self.path.display(), %error, "a released segment is not removed; the next start does it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::OpenMode;
    use crate::env::sim::SimEnv;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    const PATH: &str = "/d/log/old.seg";

    /// A file of two and a half steps on a disk of its own.
    fn rig() -> (SimEnv, Arc<dyn File>, u64) {
        let sim = SimEnv::new(1);
        let disk = sim.env().disk;
        disk.create_dir_all("/d/log".as_ref()).unwrap();
        let file = disk.open(PATH.as_ref(), OpenMode::CreateOrTruncate).unwrap();
        let bytes = STEP_BYTES * 5 / 2;
        file.allocate(bytes).unwrap();
        (sim, file, bytes)
    }

    #[test]
    fn a_large_file_is_shortened_step_by_step_and_then_removed() {
        let (sim, file, bytes) = rig();
        let disk = sim.env().disk;
        let told = Arc::new(AtomicBool::new(false));
        let tell = told.clone();
        let mut removals = Removals::default();
        let doomed = Doomed { path: PATH.into(), sole: Some(file.clone()), bytes };
        removals.push(vec![doomed], Box::new(move |result| tell.store(result.is_ok(), Relaxed)));
        let mut lengths = Vec::new();
        while let Some(removal) = removals.next() {
            assert!(!told.load(Relaxed), "nobody hears of it before it is done");
            if let Some(left) = removal.step(disk.as_ref()) {
                removals.go_on(left);
                lengths.push(file.byte_len().unwrap());
            }
        }
        assert_eq!(lengths, [bytes - STEP_BYTES, bytes - 2 * STEP_BYTES]);
        assert!(!disk.exists(PATH.as_ref()).unwrap());
        assert!(told.load(Relaxed));
    }

    #[test]
    fn a_file_that_somebody_still_reads_is_only_unlinked() {
        let (sim, file, bytes) = rig();
        let doomed = Doomed { path: PATH.into(), sole: None, bytes };
        Removal::File(doomed).finish(sim.env().disk.as_ref());
        assert!(!sim.env().disk.exists(PATH.as_ref()).unwrap());
        assert_eq!(file.byte_len().unwrap(), bytes);
    }
}
