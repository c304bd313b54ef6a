//! What is on the simulated disk: for each file the durable bytes and what was written since.

use super::bad_blocks::BadBlocks;
use super::rng::SeededRng;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The unit that a crash keeps or loses as a whole.
const SECTOR_BYTES: usize = 512;

/// A file's number; a name is only a pointer to it.
pub(super) type Inode = u64;

/// A change of a file that is not synced.
#[derive(Clone, Debug)]
enum Unsynced {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

/// One file: what is read now, what a power loss leaves for sure, and the changes between the two.
#[derive(Clone, Debug, Default)]
pub(super) struct FileImage {
    pub(super) now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
    /// How often it was changed.
    pub(super) writes: u64,
    /// What the device cannot read of it, in memory nor on disk.
    pub(super) bad: BadBlocks,
    /// Failed write-backs so far, the last error, and whether some handle was told of it.
    failures: u64,
    failure: Option<(io::ErrorKind, String)>,
    told: bool,
}

impl FileImage {
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        apply(&mut self.now, offset, bytes);
        self.writes += 1;
        self.unsynced.push(Unsynced::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn set_length(&mut self, length: usize) {
        self.now.resize(length, 0);
        self.bad.cut(length);
        self.writes += 1;
        self.unsynced.push(Unsynced::Length(length));
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Unsynced::Write { offset, bytes } => apply(&mut self.durable, offset, &bytes),
                Unsynced::Length(length) => self.durable.resize(length, 0),
            }
        }
    }

    /// A failed write-back: the changes count as clean, but never reach the disk.
    pub(super) fn fail_write_back(&mut self, kind: io::ErrorKind, text: String) {
        self.unsynced.clear();
        self.failures += 1;
        self.failure = Some((kind, text));
        self.told = false;
    }

    /// What a handle that is opened now counts as told: everything, unless nobody was told of the last failure.
    pub(super) fn told_to_new_handles(&self) -> u64 {
        if self.told { self.failures } else { 0 }
    }

    /// The failures so far, and the error for a handle that was told of the first `told`.
    pub(super) fn tell_failure(&mut self, told: u64) -> (u64, Option<io::Error>) {
        let untold = self.failure.as_ref().filter(|_| told < self.failures);
        self.told |= untold.is_some();
        (self.failures, untold.map(|(kind, text)| io::Error::new(*kind, text.clone())))
    }

    /// Changes bytes behind everybody's back, on disk and in memory.
    pub(super) fn damage(&mut self, change: impl Fn(&mut Vec<u8>)) {
        change(&mut self.now);
        change(&mut self.durable);
    }

    /// Power loss: of the unsynced sectors each survives in `survive_percent` of cases.
    fn crash(&mut self, rng: &SeededRng, survive_percent: u64) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Unsynced::Length(length) => {
                    if rng.chance(survive_percent) {
                        self.durable.resize(length, 0);
                    }
                }
                Unsynced::Write { offset, bytes } => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let to_boundary = SECTOR_BYTES - (offset + at) % SECTOR_BYTES;
                        let end = bytes.len().min(at + to_boundary);
                        if rng.chance(survive_percent) {
                            apply(&mut self.durable, offset + at, &bytes[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
        self.now = self.durable.clone();
        (self.failures, self.failure, self.told) = (0, None, false);
    }
}

fn apply(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

/// A change of a directory that is not synced.
#[derive(Clone, Debug)]
enum NameChange {
    Put(PathBuf, Inode),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

type Names = BTreeMap<PathBuf, Inode>;

/// The whole disk.
#[derive(Clone, Debug, Default)]
pub(super) struct DiskImage {
    pub(super) files: BTreeMap<Inode, FileImage>,
    pub(super) dirs: Vec<PathBuf>,
    pub(super) names: Names,
    durable_names: Names,
    unsynced_names: Vec<NameChange>,
    next_inode: Inode,
}

impl DiskImage {
    pub(super) fn create(&mut self, path: &Path) -> Inode {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.files.insert(inode, FileImage::default());
        self.change(NameChange::Put(path.into(), inode));
        inode
    }

    pub(super) fn link(&mut self, path: &Path, inode: Inode) {
        self.change(NameChange::Put(path.into(), inode));
        self.sync_dir(path.parent().expect("a file lies in a folder"));
    }

    pub(super) fn remove(&mut self, path: &Path) {
        self.change(NameChange::Remove(path.into()));
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        self.change(NameChange::Rename(from.into(), to.into()));
    }

    /// Durable at once, with all that is in it as far as that is.
    pub(super) fn rename_dir(&mut self, from: &Path, to: &Path) {
        let moved = |path: &Path| match path.strip_prefix(from) {
            Ok(inside) if inside.as_os_str().is_empty() => to.to_path_buf(),
            Ok(inside) => to.join(inside),
            Err(_) => path.to_path_buf(),
        };
        self.dirs.iter_mut().for_each(|dir| *dir = moved(dir));
        for names in [&mut self.names, &mut self.durable_names] {
            *names = std::mem::take(names).into_iter().map(|(path, inode)| (moved(&path), inode)).collect();
        }
        for change in &mut self.unsynced_names {
            match change {
                NameChange::Put(path, _) | NameChange::Remove(path) => *path = moved(path),
                NameChange::Rename(before, after) => (*before, *after) = (moved(before), moved(after)),
            }
        }
    }

    fn change(&mut self, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.unsynced_names.push(change);
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) {
        let (synced, left): (Vec<_>, Vec<_>) =
            self.unsynced_names.drain(..).partition(|change| change.path().parent() == Some(dir));
        self.unsynced_names = left;
        synced.iter().for_each(|change| apply_name(&mut self.durable_names, change));
    }

    /// Power loss. Directory changes survive in order up to some point, as a journal keeps them.
    pub(super) fn crash(&mut self, rng: &SeededRng, survive_percent: u64) {
        for change in std::mem::take(&mut self.unsynced_names) {
            if !rng.chance(survive_percent) {
                break;
            }
            apply_name(&mut self.durable_names, &change);
        }
        self.names = self.durable_names.clone();
        self.files.values_mut().for_each(|file| file.crash(rng, survive_percent));
    }

    /// The name that a file has now, if any.
    pub(super) fn name_of(&self, inode: Inode) -> Option<&Path> {
        self.names.iter().find(|(_, named)| **named == inode).map(|(path, _)| path.as_path())
    }

    /// Named files that hold unsynced changes.
    pub(super) fn unsynced_files(&self) -> usize {
        self.names.values().filter(|inode| !self.files[*inode].unsynced.is_empty()).count()
    }

    /// Bytes that the named files take.
    pub(super) fn used_bytes(&self) -> u64 {
        self.names.values().map(|inode| self.files[inode].now.len() as u64).sum()
    }
}

impl NameChange {
    fn path(&self) -> &Path {
        match self {
            NameChange::Put(path, _) | NameChange::Remove(path) | NameChange::Rename(path, _) => path,
        }
    }
}

fn apply_name(names: &mut Names, change: &NameChange) {
    match change {
        NameChange::Put(path, inode) => {
            names.insert(path.clone(), *inode);
        }
        NameChange::Remove(path) => {
            names.remove(path);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
    }
}
