//! Whether the last run of this node may have forgotten what it acknowledged (hazards 10).
//!
//! In `async` durability a node acknowledges before its disk holds the entry. A process that dies takes nothing with it,
//! the system writes it out; a machine that stops does. Then the node has forgotten entries that count as held by a
//! majority, and with its vote a leader could be elected that never had them. The file `last-run` tells the two apart:
//! ```text
//!   system's boot id u128 │ async u8 │ ended cleanly u8 │ in doubt u8
//! ```
//! A run that was `async`, did not end cleanly and happened under another boot id leaves the node in doubt, across further
//! restarts, until it holds what a leader has committed, or the operator says that he accepts the loss. While in doubt it
//! keeps out of elections ([`GateReason::AsyncUnclean`](crate::GateReason::AsyncUnclean)). A damaged file counts as doubt:
//! it is there only in folders that have been used in `async` durability, or in doubt before.
//!
//! In any durability the device may not be able to read the end of the log (hazards 36). What is cut there may have been
//! acknowledged, which is the same doubt; it is noted here before anything is cut.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use bytes::{Buf, BufMut, BytesMut};

use crate::env::Env;
use crate::exec::sync;
use crate::planted::{self, Bug};
use crate::storage::sealed_file::{self, SealedFormat};
use crate::storage::{Durability, OpenError};

const FORMAT: SealedFormat = SealedFormat { magic: *b"TRCTLRUN", version: 1 };
const FILE_NAME: &str = "last-run";
const UNBROKEN: &str = "no holder of this lock panics";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    boot_id: u128,
    is_async: bool,
    ended_cleanly: bool,
    in_doubt: bool,
}

/// The mark of this run. The caller holds the folder's lock.
pub(crate) struct LastRun {
    env: Env,
    file: PathBuf,
    /// Held while it changes; whoever reads it never waits for a disk.
    changing: sync::Mutex<()>,
    /// `None` in a folder that was never used in `async` durability: nothing is written there.
    run: Mutex<Option<Run>>,
}

impl LastRun {
    /// Judges the last run and begins this one, durably.
    pub(crate) fn begin(env: &Env, dir: &Path, durability: Durability) -> Result<LastRun, OpenError> {
        let file = dir.join(FILE_NAME);
        let io_error = |action| {
            let file = file.clone();
            move |source| OpenError::Io { action, file, source }
        };
        let boot_id = env.disk.boot_id().map_err(io_error("asking for the system's boot id for"))?;
        let last = match sealed_file::read(env, &file, FORMAT) {
            Ok(Some((_version, body))) => Some(decode(&body)),
            Ok(None) => None,
            Err(OpenError::Damaged { .. }) => Some(None),
            Err(error) => return Err(error),
        };
        let in_doubt = match last {
            None => false,
            Some(None) => true,
            Some(Some(last)) => last.in_doubt || (last.is_async && !last.ended_cleanly && last.boot_id != boot_id),
        };
        let is_async = durability == Durability::Async;
        let run = (is_async || last.is_some()).then_some(Run { boot_id, is_async, ended_cleanly: false, in_doubt });
        if let Some(run) = run {
            sealed_file::write(env, &file, FORMAT, &encode(run)).map_err(io_error("writing"))?;
        }
        Ok(LastRun { env: env.clone(), file, changing: sync::Mutex::default(), run: Mutex::new(run) })
    }

    /// Notes, durably, that something may be forgotten: the next [`begin`](Self::begin) finds the doubt.
    pub(crate) fn note_doubt(env: &Env, dir: &Path) -> Result<(), OpenError> {
        let run = Run { boot_id: 0, is_async: false, ended_cleanly: false, in_doubt: true };
        let file = dir.join(FILE_NAME);
        let written = sealed_file::write(env, &file, FORMAT, &encode(run));
        written.map_err(|source| OpenError::Io { action: "writing", file, source })
    }

    /// Whether something may be forgotten.
    pub(crate) fn is_in_doubt(&self) -> bool {
        !planted::is(Bug::DoubtIgnored) && self.run().is_some_and(|run| run.in_doubt)
    }

    /// The doubt is over, durably.
    pub(crate) fn trust(&self) -> io::Result<()> {
        self.change(|run| Run { in_doubt: false, ..run })
    }

    /// Everything that was acknowledged is on the disk, and the process ends.
    pub(crate) fn end(&self) -> io::Result<()> {
        self.change(|run| Run { ended_cleanly: true, ..run })
    }

    fn change(&self, change: impl FnOnce(Run) -> Run) -> io::Result<()> {
        let _changing = self.changing.lock().expect(UNBROKEN);
        let Some(run) = *self.run() else { return Ok(()) };
        let changed = change(run);
        sealed_file::write(&self.env, &self.file, FORMAT, &encode(changed))?;
        *self.run() = Some(changed);
        Ok(())
    }

    fn run(&self) -> MutexGuard<'_, Option<Run>> {
        self.run.lock().expect(UNBROKEN)
    }
}

fn encode(run: Run) -> BytesMut {
    let mut out = BytesMut::with_capacity(19);
    out.put_u128_le(run.boot_id);
    for flag in [run.is_async, run.ended_cleanly, run.in_doubt] {
        out.put_u8(u8::from(flag));
    }
    out
}

fn decode(mut body: &[u8]) -> Option<Run> {
    let boot_id = body.try_get_u128_le().ok()?;
    let mut flag = || body.try_get_u8().ok().map(|flag| flag != 0);
    Some(Run { boot_id, is_async: flag()?, ended_cleanly: flag()?, in_doubt: flag()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::{Crash, SimEnv};

    const DIR: &str = "/data";

    fn machine() -> SimEnv {
        let machine = SimEnv::new(1);
        machine.env().disk.create_dir_all(Path::new(DIR)).unwrap();
        machine
    }

    fn begin(machine: &SimEnv, durability: Durability) -> LastRun {
        LastRun::begin(&machine.env(), Path::new(DIR), durability).unwrap()
    }

    #[test]
    fn a_noted_doubt_stays_until_it_is_over_whatever_the_durability() {
        let machine = machine();
        begin(&machine, Durability::Sync).end().unwrap();
        LastRun::note_doubt(&machine.env(), Path::new(DIR)).unwrap();
        machine.disk.crash(Crash::LoseUnsynced);
        assert!(begin(&machine, Durability::Sync).is_in_doubt());
        let again = begin(&machine, Durability::Sync);
        assert!(again.is_in_doubt());
        again.trust().unwrap();
        assert!(!begin(&machine, Durability::Sync).is_in_doubt());
    }

    #[test]
    fn only_an_async_run_that_the_machine_cut_short_leaves_a_doubt() {
        let machine = machine();
        assert!(!begin(&machine, Durability::Async).is_in_doubt(), "a new folder");
        assert!(!begin(&machine, Durability::Async).is_in_doubt(), "the process died, and the system did not");
        machine.disk.crash(Crash::LoseUnsynced);
        assert!(begin(&machine, Durability::Async).is_in_doubt());
    }

    #[test]
    fn a_doubt_outlives_restarts_and_changes_of_durability_until_it_is_resolved() {
        let machine = machine();
        begin(&machine, Durability::Async);
        machine.disk.crash(Crash::LoseUnsynced);
        begin(&machine, Durability::Sync).end().unwrap();
        let run = begin(&machine, Durability::Sync);
        assert!(run.is_in_doubt());
        run.trust().unwrap();
        machine.disk.crash(Crash::LoseUnsynced);
        assert!(!begin(&machine, Durability::Sync).is_in_doubt(), "sync runs forget nothing");
    }

    #[test]
    fn a_clean_end_leaves_no_doubt_and_sync_folders_hold_no_mark() {
        let machine = machine();
        begin(&machine, Durability::Sync);
        assert!(machine.env().disk.list(Path::new(DIR)).unwrap().is_empty());
        begin(&machine, Durability::Async).end().unwrap();
        machine.disk.crash(Crash::LoseUnsynced);
        assert!(!begin(&machine, Durability::Async).is_in_doubt());
    }

    #[test]
    fn a_damaged_mark_is_a_doubt() {
        let machine = machine();
        begin(&machine, Durability::Async);
        let file = machine.env().disk.open(&Path::new(DIR).join(FILE_NAME), crate::env::OpenMode::ReadWrite).unwrap();
        // Both of its copies.
        let bytes = usize::try_from(file.byte_len().unwrap()).unwrap();
        file.write_all_at(&vec![0xff; bytes - 16], 16).unwrap();
        assert!(begin(&machine, Durability::Async).is_in_doubt());
    }
}
