//! One open file of the simulated disk.

use super::faults::FaultKind;
use super::image::Inode;
use super::state::{SimState, lock};
use super::step::at_disk;
use crate::env::{File, FileIdentity, media_error};
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

/// See the module.
pub(super) struct SimFile {
    state: Arc<Mutex<SimState>>,
    /// The name that it was opened by.
    path: PathBuf,
    inode: Inode,
    life: u64,
    /// Failed write-backs of the file that this handle was told of, or that were told before it was opened.
    told: AtomicU64,
}

impl SimFile {
    /// Opens a file of the disk that `state` is.
    pub(super) fn open(disk: Arc<Mutex<SimState>>, state: &mut SimState, path: PathBuf, inode: Inode) -> SimFile {
        let told = AtomicU64::new(state.file(inode).told_to_new_handles());
        SimFile { state: disk, path, inode, life: state.life, told }
    }

    /// The disk, if this handle is of its present life and the power is on.
    fn disk(&self) -> io::Result<MutexGuard<'_, SimState>> {
        let state = lock(&self.state);
        if state.life != self.life {
            return Err(io::Error::other("the file was opened before the simulated power loss"));
        }
        state.powered()?;
        Ok(state)
    }

    /// Lets an ordered fault strike, by the name that the file has now.
    fn strike(&self, state: &mut SimState, kind: FaultKind) -> io::Result<()> {
        let path = state.image.name_of(self.inode).unwrap_or(&self.path).to_path_buf();
        state.faults.strike(kind, &path)
    }

    fn sync(&self) -> io::Result<()> {
        at_disk!(Sync);
        let mut state = self.disk()?;
        if let Err(error) = self.strike(&mut state, FaultKind::Sync) {
            state.file(self.inode).fail_write_back(error.kind(), error.to_string());
        }
        let told = self.told.load(Relaxed);
        let (failures, untold) = state.file(self.inode).tell_failure(told);
        self.told.store(failures, Relaxed);
        if let Some(error) = untold {
            return Err(error);
        }
        if !state.count_change()? {
            return state.powered();
        }
        state.file(self.inode).sync();
        Ok(())
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        at_disk!(Read);
        let act = self.disk()?.before_read.take();
        if let Some(act) = act {
            act();
        }
        let mut state = self.disk()?;
        self.strike(&mut state, FaultKind::Read)?;
        let file = state.file(self.inode);
        let content = &file.now;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let end = content.len().min(start + buf.len());
        if file.bad.touch(start, end) {
            state.unreadable_reads += 1;
            return Err(media_error());
        }
        buf[..end - start].copy_from_slice(&content[start..end]);
        Ok(end - start)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        at_disk!(Write);
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let mut state = self.disk()?;
        self.strike(&mut state, FaultKind::Write)?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let growth = (offset + bytes.len()).saturating_sub(state.file(self.inode).now.len());
        state.reserve(growth as u64)?;
        state.file(self.inode).bad.overwrite(offset, offset + bytes.len())?;
        let completed = state.count_change()?;
        state.file(self.inode).write(offset, &bytes);
        if completed { Ok(()) } else { state.powered() }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.disk()?.file(self.inode).now.len() as u64)
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        let mut state = self.disk()?;
        let file = state.file(self.inode);
        let written = (i64::try_from(file.writes).map_err(io::Error::other)?, 0);
        Ok(FileIdentity { number: (0, self.inode), bytes: file.now.len() as u64, written })
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        at_disk!(Write);
        let mut state = self.disk()?;
        self.strike(&mut state, FaultKind::Allocate)?;
        let length = state.file(self.inode).now.len();
        let wanted = usize::try_from(bytes).map_err(io::Error::other)?.max(length);
        state.reserve((wanted - length) as u64)?;
        if !state.count_change()? {
            return state.powered();
        }
        state.file(self.inode).set_length(wanted);
        Ok(())
    }

    fn shorten(&self, bytes: u64) -> io::Result<()> {
        at_disk!(Write);
        let mut state = self.disk()?;
        let length = state.file(self.inode).now.len();
        if !state.count_change()? {
            return state.powered();
        }
        state.file(self.inode).set_length(usize::try_from(bytes).map_err(io::Error::other)?.min(length));
        Ok(())
    }

    fn zero(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.write_all_at(&vec![0; usize::try_from(bytes).map_err(io::Error::other)?], offset)
    }

    fn reopen(&self) -> io::Result<Arc<dyn File>> {
        let mut state = self.disk()?;
        self.strike(&mut state, FaultKind::Open)?;
        Ok(Arc::new(SimFile::open(self.state.clone(), &mut state, self.path.clone(), self.inode)))
    }

    fn next_data(&self, from: u64) -> io::Result<u64> {
        let mut state = self.disk()?;
        let file = state.file(self.inode);
        let content = &file.now;
        let start = usize::try_from(from).unwrap_or(usize::MAX).min(content.len());
        let found = content[start..].iter().position(|byte| *byte != 0).map(|at| start + at);
        // A block that cannot be read was written once.
        let bad = file.bad.first_from(start);
        Ok(found.into_iter().chain(bad).min().unwrap_or(content.len()).min(content.len()) as u64)
    }
}
