//! The real disk, whose syncs a test can hold up.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use raft_log::env::{Disk, DiskLock, Env, File, FileIdentity, OpenMode};

/// Holds up the syncs of a node while it is stalled.
#[derive(Clone, Default)]
pub struct Stall(Arc<(Mutex<bool>, Condvar)>);

impl Stall {
    pub fn set(&self, stalled: bool) {
        *self.0.0.lock().unwrap() = stalled;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let stalled = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(stalled, |stalled| *stalled).unwrap());
    }

    /// The real environment with this stall in its disk.
    pub fn env(&self) -> Env {
        let real = Env::real();
        Env { disk: Arc::new(StallingDisk { disk: real.disk.clone(), stall: self.clone() }), ..real }
    }
}

struct StallingDisk {
    disk: Arc<dyn Disk>,
    stall: Stall,
}

impl Disk for StallingDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(StallingFile { file: self.disk.open(path, mode)?, stall: self.stall.clone() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list_dirs(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.remove_dir(dir)
    }

    fn total_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.disk.total_bytes(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename_dir(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.disk.free_bytes(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path)
    }
}

struct StallingFile {
    file: Arc<dyn File>,
    stall: Stall,
}

impl File for StallingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.file.write_vectored_at(slices, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.stall.pass();
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.stall.pass();
        self.file.sync_all()
    }

    fn byte_len(&self) -> io::Result<u64> {
        self.file.byte_len()
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        self.file.identity()
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }

    fn shorten(&self, bytes: u64) -> io::Result<()> {
        self.file.shorten(bytes)
    }

    fn reopen(&self) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(StallingFile { file: self.file.reopen()?, stall: self.stall.clone() }))
    }

    fn zero(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.file.zero(offset, bytes)
    }

    fn next_data(&self, from: u64) -> io::Result<u64> {
        self.file.next_data(from)
    }
}
