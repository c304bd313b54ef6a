//! The simulated disk: the [`Disk`] that the code under test sees, and what a test can do to it.

use super::faults::{Fault, FaultKind};
use super::file::SimFile;
use super::rng::SeededRng;
use super::session::Session;
use super::state::{BeforeRead, SimState, lock};
use crate::env::{Disk, DiskLock, File, OpenMode};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// How much a power loss takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Everything that was not synced.
    LoseUnsynced,
    /// Each unsynced sector and name by the seed's choice, so that later ones may survive without earlier ones.
    Torn {
        /// Decides what survives.
        seed: u64,
    },
    /// Nothing yet: only the process died. What it did not sync stays in the page cache, for the next power loss.
    KeepAll,
}

/// A disk in memory. Clones of the `Arc` are the same disk; [`SimDisk::fork`] copies it.
#[derive(Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<SimState>>,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// An independent copy of what is on the disk now, without faults and locks. What is not synced stays so.
    #[must_use]
    pub fn fork(&self) -> SimDisk {
        let image = self.lock().image.clone();
        SimDisk { state: Arc::new(Mutex::new(SimState { image, ..SimState::default() })) }
    }

    /// The power goes off, and everything on the disk is replaced by what is durable in `copy`, a fork of an earlier time: a
    /// snapshot of the machine is put back, or a backup of its folder (hazards 34).
    pub fn restore(&self, copy: &SimDisk) {
        let image = copy.lock().image.clone();
        self.lock().image = image;
        self.crash(Crash::LoseUnsynced);
    }

    /// The power goes off and on again: open handles and locks are dead, and what `crash` says is lost.
    pub fn crash(&self, crash: Crash) {
        let mut state = self.lock();
        match crash {
            Crash::LoseUnsynced => state.image.crash(&SeededRng::new(0), 0),
            Crash::Torn { seed } => state.image.crash(&SeededRng::new(seed), 50),
            Crash::KeepAll => {}
        }
        state.life += 1;
        state.boots += u64::from(crash != Crash::KeepAll);
        state.power_off_at = None;
        state.locks.clear();
        state.faults.clear();
    }

    /// The disk for one life of a process: it is of no use after the next crash.
    #[must_use]
    pub fn session(self: &Arc<Self>) -> Arc<dyn Disk> {
        Arc::new(Session::new(self.clone(), self.state.clone()))
    }

    /// Lets `changes` more calls that change the disk succeed; then every call fails until [`SimDisk::crash`]. The one
    /// write at which the power goes off counts as issued: a torn crash may keep parts of it.
    pub fn power_off_after(&self, changes: u64) {
        let mut state = self.lock();
        state.power_off_at = Some(state.changes + changes);
    }

    /// How many calls changed the disk so far: writes, syncs, names.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Orders a fault.
    pub fn order(&self, fault: Fault) {
        self.lock().faults.order(fault);
    }

    /// How many calls ordered faults have hit: a test whose fault never bit proves nothing.
    #[must_use]
    pub fn fault_hits(&self) -> u64 {
        self.lock().faults.hits()
    }

    /// How many calls of this kind ordered faults have hit.
    #[must_use]
    pub fn fault_hits_of(&self, kind: FaultKind) -> u64 {
        self.lock().faults.hits_of(kind)
    }

    /// Takes back all ordered faults that have not struck, a loss of power included.
    pub fn clear_faults(&self) {
        let mut state = self.lock();
        state.faults.clear();
        if state.powered().is_ok() {
            state.power_off_at = None;
        }
    }

    /// Whether the power went off, as ordered by [`SimDisk::power_off_after`].
    #[must_use]
    pub fn power_is_off(&self) -> bool {
        self.lock().powered().is_err()
    }

    /// How many calls were refused because the disk was full.
    #[must_use]
    pub fn refused_as_full(&self) -> u64 {
        self.lock().refused_as_full
    }

    /// Bytes that the files take.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.lock().image.used_bytes()
    }

    /// How many files hold changes that a loss of power would take.
    #[must_use]
    pub fn unsynced_files(&self) -> usize {
        self.lock().image.unsynced_files()
    }

    /// Limits the disk's size: what would exceed it fails with [`io::ErrorKind::StorageFull`].
    pub fn set_capacity_bytes(&self, bytes: Option<u64>) {
        self.lock().capacity_bytes = bytes;
    }

    /// Flips one bit of a file, on disk and in memory, wherever the file is that long.
    pub fn flip_bit(&self, path: &Path, byte: usize, bit: u8) {
        self.damage(path, |content| {
            if let Some(byte) = content.get_mut(byte) {
                *byte ^= 1 << bit;
            }
        });
    }

    /// The device loses the blocks (of [`BLOCK_BYTES`](crate::env::BLOCK_BYTES)) that hold these bytes of a file: they cannot be read, in this
    /// life of the process nor the next, until they are written anew as a whole.
    pub fn lose_blocks(&self, path: &Path, offset: u64, bytes: u64) {
        let mut state = self.lock();
        let inode = state.inode(path).expect("the file to damage exists");
        state.file(inode).bad.lose(offset, bytes);
    }

    /// How many blocks of this file cannot be read.
    #[must_use]
    pub fn lost_blocks(&self, path: &Path) -> usize {
        let state = self.lock();
        state.inode(path).map_or(0, |inode| state.image.files[&inode].bad.count())
    }

    /// How many reads met lost blocks.
    #[must_use]
    pub fn unreadable_reads(&self) -> u64 {
        self.lock().unreadable_reads
    }

    /// The system writes a file back by itself, and that fails: what was not synced counts as clean, is lost at the next
    /// crash, and each handle that is open now is told at its next sync, whoever wrote.
    pub fn fail_write_back(&self, path: &Path, error: io::ErrorKind) {
        let mut state = self.lock();
        let inode = state.inode(path).expect("the file to write back exists");
        state.file(inode).fail_write_back(error, format!("simulated failure to write back {}", path.display()));
    }

    /// Lets something happen between whoever reads next and its read: `act` may use the disk.
    pub fn before_next_read(&self, act: impl FnOnce() + Send + 'static) {
        self.lock().before_read = BeforeRead(Some(Box::new(act)));
    }

    /// Gives a file a second name, durably, as a hard link does.
    pub fn link(&self, from: &Path, to: &Path) {
        let mut state = self.lock();
        let inode = state.inode(from).expect("the file to link exists");
        state.image.link(to, inode);
    }

    /// Cuts a file to `length` bytes.
    pub fn truncate(&self, path: &Path, length: usize) {
        self.damage(path, |content| content.truncate(length));
    }

    /// Writes into a file as a stray program would: no handle, no sync needed.
    pub fn overwrite(&self, path: &Path, offset: usize, bytes: &[u8]) {
        self.damage(path, |content| content[offset..offset + bytes.len()].copy_from_slice(bytes));
    }

    /// Removes a file for good.
    pub fn delete(&self, path: &Path) {
        let mut state = self.lock();
        state.inode(path).expect("the file to delete exists");
        state.image.remove(path);
        let dir = path.parent().expect("a file lies in a folder").to_path_buf();
        state.image.sync_dir(&dir);
    }

    /// What a file holds now.
    #[must_use]
    pub fn content(&self, path: &Path) -> Vec<u8> {
        let state = self.lock();
        let inode = state.inode(path).expect("the file to look at exists");
        state.image.files[&inode].now.clone()
    }

    fn damage(&self, path: &Path, change: impl Fn(&mut Vec<u8>)) {
        let mut state = self.lock();
        let inode = state.inode(path).expect("the file to damage exists");
        state.file(inode).damage(change);
    }

    fn lock(&self) -> MutexGuard<'_, SimState> {
        lock(&self.state)
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.powered()?;
        for dir in dir.ancestors() {
            if !state.image.dirs.iter().any(|known| known == dir) {
                state.image.dirs.push(dir.into());
            }
        }
        Ok(())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.lock();
        state.powered()?;
        state.faults.strike(FaultKind::Open, path)?;
        let existing = state.inode(path);
        let inode = match mode {
            OpenMode::Read | OpenMode::ReadWrite => existing?,
            OpenMode::CreateNew if existing.is_ok() => return Err(io::ErrorKind::AlreadyExists.into()),
            OpenMode::CreateNew | OpenMode::CreateOrTruncate => {
                state.in_existing_dir(path)?;
                state.change()?;
                match existing {
                    Ok(inode) => {
                        state.file(inode).set_length(0);
                        inode
                    }
                    Err(_) => state.image.create(path),
                }
            }
        };
        Ok(Arc::new(SimFile::open(self.state.clone(), &mut state, path.into(), inode)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.powered()?;
        state.in_existing_dir(&dir.join("any"))?;
        let inside = state.image.names.keys().filter(|path| path.parent() == Some(dir));
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(inside.filter_map(name).collect())
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.powered()?;
        state.in_existing_dir(&dir.join("any"))?;
        let inside = state.image.dirs.iter().filter(|path| path.parent() == Some(dir));
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut names: Vec<String> = inside.filter_map(name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Durable at once, as making one is.
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.in_existing_dir(&dir.join("any"))?;
        let within = |path: &Path| path.parent() == Some(dir);
        if state.image.names.keys().any(|path| within(path)) || state.image.dirs.iter().any(|path| within(path)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.change()?;
        state.image.dirs.retain(|known| known != dir);
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.lock();
        state.powered()?;
        Ok(state.inode(path).is_ok() || state.image.dirs.iter().any(|dir| dir == path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        assert_eq!(from.parent(), to.parent(), "renames stay in their directory");
        state.inode(from)?;
        state.change()?;
        state.image.rename(from, to);
        Ok(())
    }

    /// Durable at once, as making one is.
    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        assert_eq!(from.parent(), to.parent(), "renames stay in their directory");
        state.in_existing_dir(&from.join("any"))?;
        if state.in_existing_dir(&to.join("any")).is_ok() || state.inode(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.change()?;
        state.image.rename_dir(from, to);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.inode(path)?;
        state.change()?;
        state.image.remove(path);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.faults.strike(FaultKind::SyncDir, dir)?;
        state.change()?;
        state.image.sync_dir(dir);
        Ok(())
    }

    fn boot_id(&self) -> io::Result<u128> {
        let state = self.lock();
        state.powered()?;
        Ok(u128::from(state.boots) + 1)
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.lock();
        state.powered()?;
        Ok(state.capacity_bytes.unwrap_or(1 << 40).saturating_sub(state.image.used_bytes()))
    }

    fn total_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.lock();
        state.powered()?;
        Ok(state.capacity_bytes.unwrap_or(1 << 40))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.lock();
        state.powered()?;
        state.in_existing_dir(path)?;
        if !state.locks.insert(path.into()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let life = state.life;
        Ok(Box::new(SimLock { state: self.state.clone(), path: path.into(), life }))
    }
}

/// A lock that a power loss or its drop ends.
struct SimLock {
    state: Arc<Mutex<SimState>>,
    path: PathBuf,
    life: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}
