//! What a simulated disk is: its content, its faults, and what its calls count.

use super::faults::Faults;
use super::image::{DiskImage, FileImage, Inode};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

#[derive(Debug, Default)]
pub(super) struct SimState {
    pub(super) image: DiskImage,
    pub(super) faults: Faults,
    /// Counts crashes of every kind: handles of an earlier life fail.
    pub(super) life: u64,
    /// Counts power losses: the system's runs.
    pub(super) boots: u64,
    /// Calls that change the disk, since it was made.
    pub(super) changes: u64,
    /// The power goes off at this change.
    pub(super) power_off_at: Option<u64>,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) refused_as_full: u64,
    /// Reads that met a bad block.
    pub(super) unreadable_reads: u64,
    pub(super) before_read: BeforeRead,
    pub(super) locks: BTreeSet<PathBuf>,
}

/// What happens just before the next read, once.
#[derive(Default)]
pub(super) struct BeforeRead(pub(super) Option<Box<dyn FnOnce() + Send>>);

impl BeforeRead {
    pub(super) fn take(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        self.0.take()
    }
}

impl std::fmt::Debug for BeforeRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BeforeRead").field(&self.0.is_some()).finish()
    }
}

pub(super) fn lock(state: &Mutex<SimState>) -> MutexGuard<'_, SimState> {
    state.lock().expect("nothing panics while it holds the simulated disk")
}

impl SimState {
    /// Fails once the power is off.
    pub(super) fn powered(&self) -> io::Result<()> {
        match self.power_off_at {
            Some(at) if self.changes > at => Err(io::Error::other("simulated power loss")),
            _ => Ok(()),
        }
    }

    /// Counts a call that changes the disk; `false` if the power goes off during this very call.
    pub(super) fn count_change(&mut self) -> io::Result<bool> {
        self.powered()?;
        self.changes += 1;
        Ok(self.powered().is_ok())
    }

    /// Counts a call that is all or nothing: it fails if the power goes off at it.
    pub(super) fn change(&mut self) -> io::Result<()> {
        if self.count_change()? { Ok(()) } else { self.powered() }
    }

    pub(super) fn file(&mut self, inode: Inode) -> &mut FileImage {
        self.image.files.get_mut(&inode).expect("inodes are never removed")
    }

    /// Fails if `more` bytes exceed the disk.
    pub(super) fn reserve(&mut self, more: u64) -> io::Result<()> {
        match self.capacity_bytes {
            Some(capacity) if more > 0 && self.image.used_bytes() + more > capacity => {
                self.refused_as_full += 1;
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn inode(&self, path: &Path) -> io::Result<Inode> {
        self.image.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn in_existing_dir(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(dir) if self.image.dirs.iter().any(|known| known == dir) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
