//! A simulated disk as one life of a process sees it: it ends with that life, whoever still holds it.

use super::state::{SimState, lock};
use super::step::at_disk;
use crate::env::{Disk, DiskLock, File, OpenMode};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// See the module. Made by [`SimDisk::session`](super::SimDisk::session).
pub(super) struct Session {
    disk: Arc<dyn Disk>,
    state: Arc<Mutex<SimState>>,
    life: u64,
}

impl Session {
    /// The present life of the disk that `state` is.
    pub(super) fn new(disk: Arc<dyn Disk>, state: Arc<Mutex<SimState>>) -> Session {
        let life = lock(&state).life;
        Session { disk, state, life }
    }

    fn disk(&self) -> io::Result<&dyn Disk> {
        if lock(&self.state).life == self.life {
            return Ok(self.disk.as_ref());
        }
        Err(io::Error::other("the process that used this simulated disk is dead"))
    }
}

impl Disk for Session {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        at_disk!(Folder);
        self.disk()?.create_dir_all(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        at_disk!(Folder);
        self.disk()?.open(path, mode)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk()?.list(dir)
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk()?.list_dirs(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        at_disk!(Folder);
        self.disk()?.remove_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk()?.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        at_disk!(Folder);
        self.disk()?.rename(from, to)
    }

    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk()?.rename_dir(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        at_disk!(Folder);
        self.disk()?.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        at_disk!(Sync);
        self.disk()?.sync_dir(dir)
    }

    fn boot_id(&self) -> io::Result<u128> {
        self.disk()?.boot_id()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.disk()?.free_bytes(dir)
    }

    fn total_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.disk()?.total_bytes(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.disk()?.lock(path)
    }
}
