//! A disk whose files need not stay open: of any number of files that are held, few have a descriptor at a time.
//!
//! ```text
//!   held ─► open ──(bound reached, long unused, everything synced)──► resting ──(next use)──► open
//! ```
//! A log holds all of its segments for as long as it has them, and reads most of them rarely. A descriptor for each would
//! let the size of a log end its node at the limit of open files.
//!
//! Invariants:
//! * A file with writes that no sync has confirmed never rests: the error of a write-back is told to the descriptor that wrote
//!   (hazards 31), and a file whose sync has failed is not synced ever.
//! * A file that loses its name, by removal or because another takes it, is open before and rests no more: its bytes live on
//!   for whoever holds it.
//!
//! The bound is exceeded rather than an operation refused: when nothing may rest.

use super::disk::{Disk, DiskLock, File, FileIdentity, OpenMode};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// See the module.
pub(super) struct RestingDisk(Arc<Table>);

struct Table {
    disk: Arc<dyn Disk>,
    open_max: usize,
    files: Mutex<Files>,
}

/// All files that are held. Whoever holds this lock waits for no file.
#[derive(Default)]
struct Files {
    by_number: BTreeMap<u64, Entry>,
    next_number: u64,
    open: usize,
    /// Where the search for one that may rest goes on.
    hand: u64,
}

struct Entry {
    slot: Arc<Slot>,
    path: PathBuf,
}

struct Slot {
    /// Held for reading by every operation, and for writing by who opens or closes.
    state: RwLock<State>,
    mode: OpenMode,
    /// Since the hand came by.
    used: AtomicBool,
    /// It may not rest any more: it has lost its name, or a sync has failed.
    stays: AtomicBool,
    /// Changes that are done, and how many of them a sync has confirmed.
    changes: AtomicU64,
    confirmed: AtomicU64,
}

enum State {
    Open(Arc<dyn File>),
    Resting,
    /// Nobody holds it any more.
    Dropped,
}

/// A file as its holder sees it.
struct RestingFile {
    table: Arc<Table>,
    number: u64,
    slot: Arc<Slot>,
}

impl RestingDisk {
    /// Keeps at most `open_max` of the files on this disk open.
    pub(super) fn new(disk: Arc<dyn Disk>, open_max: usize) -> RestingDisk {
        assert!(open_max > 0, "a file that is used must be open");
        RestingDisk(Arc::new(Table { disk, open_max, files: Mutex::default() }))
    }
}

impl Table {
    fn files(&self) -> MutexGuard<'_, Files> {
        // Each change leaves it whole.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a file of the disk beneath; others rest for it where that must be.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        loop {
            {
                let mut files = self.files();
                while files.open >= self.open_max && files.let_one_rest() {}
            }
            match self.disk.open(path, mode) {
                // Others have taken what the bound counts on.
                Err(error) if lacks_descriptors(&error) && self.files().let_one_rest() => {}
                opened => {
                    self.files().open += usize::from(opened.is_ok());
                    return opened;
                }
            }
        }
    }

    /// Everybody who holds the file of this name.
    fn holders(&self, path: &Path) -> Vec<(u64, Arc<Slot>)> {
        let files = self.files();
        let of_name = files.by_number.iter().filter(|(_, entry)| entry.path == path);
        of_name.map(|(number, entry)| (*number, entry.slot.clone())).collect()
    }

    /// Before a file loses its name: whoever holds it keeps it.
    fn keep_nameless(&self, path: &Path) -> io::Result<()> {
        for (number, slot) in self.holders(path) {
            // Before it is opened: nobody closes it then.
            slot.stays.store(true, Ordering::Relaxed);
            slot.wake(self, number)?;
        }
        Ok(())
    }
}

impl Files {
    /// Closes a file that was not used for a while and has nothing to lose. Says whether there was one.
    fn let_one_rest(&mut self) -> bool {
        // In the first round of the hand everything may have been used.
        for _ in 0..2 * self.by_number.len() {
            let later = (Bound::Excluded(self.hand), Bound::Unbounded);
            let next = self.by_number.range(later).next().or_else(|| self.by_number.iter().next());
            let Some((number, entry)) = next else { return false };
            self.hand = *number;
            if entry.slot.rest() {
                self.open -= 1;
                return true;
            }
        }
        false
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        for entry in self.by_number.values_mut() {
            if let Ok(rest) = entry.path.strip_prefix(from) {
                entry.path = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            }
        }
    }
}

impl Slot {
    /// Closes it, if it is open and may rest.
    fn rest(&self) -> bool {
        if self.used.swap(false, Ordering::Relaxed) {
            return false;
        }
        // One that is busy does not rest.
        let Ok(mut state) = self.state.try_write() else { return false };
        let unconfirmed = self.changes.load(Ordering::Relaxed) > self.confirmed.load(Ordering::Relaxed);
        let rests = matches!(*state, State::Open(_)) && !unconfirmed && !self.stays.load(Ordering::Relaxed);
        if rests {
            *state = State::Resting;
        }
        rests
    }

    /// Opens it, if it rests.
    fn wake(&self, table: &Table, number: u64) -> io::Result<()> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Resting) {
            // It is in the table until it is dropped.
            let path = table.files().by_number[&number].path.clone();
            *state = State::Open(table.open(&path, self.mode)?);
        }
        Ok(())
    }

    /// Does something with the open file.
    fn with<T>(&self, table: &Table, number: u64, act: impl FnOnce(&dyn File) -> io::Result<T>) -> io::Result<T> {
        self.used.store(true, Ordering::Relaxed);
        loop {
            match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
                State::Open(file) => return act(file.as_ref()),
                State::Resting => {}
                State::Dropped => unreachable!("whoever uses it holds it"),
            }
            self.wake(table, number)?;
        }
    }

    /// The same for what changes the file, whether it succeeds or not.
    fn change(&self, table: &Table, number: u64, act: impl FnOnce(&dyn File) -> io::Result<()>) -> io::Result<()> {
        self.with(table, number, |file| {
            let outcome = act(file);
            // While nobody can close it, and only once it is done: a sync confirms what was done when it began.
            self.changes.fetch_add(1, Ordering::Relaxed);
            outcome
        })
    }

    fn sync(&self, table: &Table, number: u64, act: impl FnOnce(&dyn File) -> io::Result<()>) -> io::Result<()> {
        self.with(table, number, |file| {
            let changes = self.changes.load(Ordering::Acquire);
            // After a failed one nothing is known of what was written, whatever a later one says.
            act(file).inspect_err(|_| self.stays.store(true, Ordering::Relaxed))?;
            self.confirmed.fetch_max(changes, Ordering::Relaxed);
            Ok(())
        })
    }
}

fn lacks_descriptors(error: &io::Error) -> bool {
    let lacks = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    lacks.iter().any(|lack| error.raw_os_error() == Some(lack.raw_os_error()))
}

impl Disk for RestingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.0.open(path, mode)?;
        let mode = if mode == OpenMode::Read { OpenMode::Read } else { OpenMode::ReadWrite };
        let slot = Arc::new(Slot {
            state: RwLock::new(State::Open(file)),
            mode,
            used: AtomicBool::new(true),
            stays: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
        });
        let mut files = self.0.files();
        let number = files.next_number;
        files.next_number += 1;
        files.by_number.insert(number, Entry { slot: slot.clone(), path: path.to_owned() });
        drop(files);
        Ok(Arc::new(RestingFile { table: self.0.clone(), number, slot }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.keep_nameless(to)?;
        let mut files = self.0.files();
        // Nobody opens it by its old name meanwhile.
        self.0.disk.rename(from, to)?;
        files.rename(from, to);
        Ok(())
    }

    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.0.files();
        self.0.disk.rename_dir(from, to)?;
        files.rename(from, to);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.keep_nameless(path)?;
        self.0.disk.remove(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.disk.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.disk.list(dir)
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.disk.list_dirs(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.disk.remove_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.disk.exists(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.disk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.0.disk.free_bytes(dir)
    }

    fn total_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.0.disk.total_bytes(dir)
    }

    fn boot_id(&self) -> io::Result<u128> {
        self.0.disk.boot_id()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.0.disk.lock(path)
    }
}

impl File for RestingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.slot.with(&self.table, self.number, |file| file.read_at(buf, offset))
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.slot.change(&self.table, self.number, |file| file.write_vectored_at(slices, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.slot.sync(&self.table, self.number, |file| file.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.slot.sync(&self.table, self.number, |file| file.sync_all())
    }

    fn byte_len(&self) -> io::Result<u64> {
        self.slot.with(&self.table, self.number, |file| file.byte_len())
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        self.slot.with(&self.table, self.number, |file| file.identity())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.slot.change(&self.table, self.number, |file| file.allocate(bytes))
    }

    fn shorten(&self, bytes: u64) -> io::Result<()> {
        self.slot.change(&self.table, self.number, |file| file.shorten(bytes))
    }

    fn reopen(&self) -> io::Result<Arc<dyn File>> {
        // For one file at a time, which is in use: it does not rest, and is not counted.
        self.slot.with(&self.table, self.number, |file| file.reopen())
    }

    fn zero(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.slot.change(&self.table, self.number, |file| file.zero(offset, bytes))
    }

    fn next_data(&self, from: u64) -> io::Result<u64> {
        self.slot.with(&self.table, self.number, |file| file.next_data(from))
    }
}

impl Drop for RestingFile {
    fn drop(&mut self) {
        let was = {
            let mut state = self.slot.state.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *state, State::Dropped)
        };
        let mut files = self.table.files();
        files.by_number.remove(&self.number);
        files.open -= usize::from(matches!(was, State::Open(_)));
    }
}

#[cfg(test)]
#[path = "resting_tests.rs"]
mod tests;
