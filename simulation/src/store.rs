//! The file that a node's state survives in, on the same simulated disk as its log: a new one is written beside the old one
//! and renamed over it. It takes as long as the disk takes, fails when that fails, and waits where that is full.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_log::env::sim::SimDisk;
use raft_log::env::{Disk, OpenMode};

/// Its folder. Nobody damages it: a state machine that checks what it reads is not what is tried here.
const FOLDER: &str = "/state";
/// So much is written at once.
const PIECE_BYTES: usize = 4 << 10;
/// A device that fails now and then does not fail so often in a row.
const ATTEMPTS_MAX: usize = 100;
/// Looks for space, each of about a millisecond.
const LOOKS_MAX: usize = 20_000;

/// See the module; clones are the same, and end with the life of the process.
#[derive(Clone)]
pub struct Store {
    disk: Arc<dyn Disk>,
}

impl Store {
    /// For one life of a node's process.
    #[must_use]
    pub fn new(disk: &Arc<SimDisk>) -> Store {
        Store { disk: disk.session() }
    }

    /// What was saved last; on disk, whatever a failed sync left undone.
    ///
    /// # Errors
    /// The disk fails again and again: its machine has lost its power meanwhile.
    pub fn load(&self) -> io::Result<Option<Vec<u8>>> {
        let loaded = (0..ATTEMPTS_MAX).find_map(|_| self.try_load().ok());
        loaded.ok_or_else(|| io::Error::other("the disk fails again and again"))
    }

    fn try_load(&self) -> io::Result<Option<Vec<u8>>> {
        self.disk.create_dir_all(Path::new(FOLDER))?;
        let file = place("state");
        if !self.disk.exists(&file)? {
            return Ok(None);
        }
        self.disk.sync_dir(Path::new(FOLDER))?;
        read(self.disk.as_ref(), &file).map(Some)
    }

    /// Replaces what was saved, durably.
    ///
    /// # Errors
    /// The disk failed.
    pub fn save(&self, bytes: &[u8]) -> io::Result<()> {
        let next = place("next");
        self.write(&next, OpenMode::CreateOrTruncate, bytes)?;
        self.disk.rename(&next, &place("state"))?;
        self.disk.sync_dir(Path::new(FOLDER))
    }

    /// Removes what was saved, durably.
    ///
    /// # Errors
    /// The disk failed.
    pub fn clear(&self) -> io::Result<()> {
        let file = place("state");
        if self.disk.exists(&file)? {
            self.disk.remove(&file)?;
        }
        self.disk.sync_dir(Path::new(FOLDER))
    }

    /// Writes a file of a checkpoint, durably.
    ///
    /// # Errors
    /// The disk failed.
    pub fn write_checkpoint(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write(file, OpenMode::CreateNew, bytes)?;
        self.disk.sync_dir(file.parent().expect("it lies in a folder"))
    }

    /// Reads a file of a checkpoint.
    ///
    /// # Errors
    /// The disk failed.
    pub fn read_checkpoint(&self, file: &Path) -> io::Result<Vec<u8>> {
        read(self.disk.as_ref(), file)
    }

    fn write(&self, path: &Path, mode: OpenMode, bytes: &[u8]) -> io::Result<()> {
        let file = self.disk.open(path, mode)?;
        for (at, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
            self.patiently(|| file.write_all_at(piece, (at * PIECE_BYTES) as u64))?;
        }
        file.sync_all()
    }

    /// A full disk is waited out, as the broker's store does.
    fn patiently(&self, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        for _ in 0..LOOKS_MAX {
            match write() {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    // Takes a moment; what it says is nobody's.
                    drop(self.disk.sync_dir(Path::new(FOLDER)));
                }
                done => return done,
            }
        }
        write()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

fn place(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.byte_len()?).expect("small")];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
