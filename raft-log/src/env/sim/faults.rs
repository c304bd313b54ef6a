//! Faults that a test orders: the next calls of a kind fail.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Reads.
    Read,
    /// Writes; nothing of them is written.
    Write,
    /// Syncs of files. As on Linux, what was to be synced counts as clean afterwards: it stays readable, is lost at
    /// the next crash, and a second sync by the same handle succeeds without it. Every other handle of the file is told
    /// once too, at its next sync.
    Sync,
    /// Syncs of directories.
    SyncDir,
    /// Reservations of space.
    Allocate,
    /// Creating or opening files.
    Open,
}

/// One ordered fault.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which calls.
    pub kind: FaultKind,
    /// Only on paths that contain this; empty means all.
    pub path_contains: String,
    /// How many matching calls succeed first.
    pub skip: u32,
    /// How many then fail.
    pub times: u32,
    /// With which error.
    pub error: io::ErrorKind,
}

impl Fault {
    /// The next call of this kind on a path that contains `path_contains` fails once, as a broken device does.
    #[must_use]
    pub fn once(kind: FaultKind, path_contains: &str) -> Fault {
        Fault { kind, path_contains: path_contains.into(), skip: 0, times: 1, error: io::ErrorKind::Other }
    }
}

/// The ordered faults, and how many calls they hit.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    ordered: Vec<Fault>,
    hits: BTreeMap<FaultKind, u64>,
}

impl Faults {
    pub(super) fn order(&mut self, fault: Fault) {
        self.ordered.push(fault);
    }

    /// Calls of this kind that ordered faults have hit.
    pub(super) fn hits_of(&self, kind: FaultKind) -> u64 {
        self.hits.get(&kind).copied().unwrap_or(0)
    }

    /// All calls that ordered faults have hit.
    pub(super) fn hits(&self) -> u64 {
        self.hits.values().sum()
    }

    pub(super) fn clear(&mut self) {
        self.ordered.clear();
    }

    /// The error of this call, if a fault hits it.
    pub(super) fn strike(&mut self, kind: FaultKind, path: &Path) -> io::Result<()> {
        let path = path.to_string_lossy();
        for fault in &mut self.ordered {
            if fault.kind != kind || !path.contains(&fault.path_contains) || fault.times == 0 {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.times -= 1;
            *self.hits.entry(kind).or_default() += 1;
            return Err(io::Error::new(fault.error, format!("simulated fault: {kind:?} of {path}")));
        }
        Ok(())
    }
}
