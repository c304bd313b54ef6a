//! The machine's disk: plain blocking system calls through `std` and `rustix`.

use super::disk::{Disk, DiskLock, File, FileIdentity, OpenMode};
use rustix::fs::{FallocateFlags, FlockOperation};
use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

/// Slices that one `pwritev` takes on Linux.
const IOV_MAX: usize = 1024;
/// Bytes of zeroes that are written at once.
const ZERO_CHUNK_BYTES: usize = 1024 * 1024;
/// What direct I/O wants of addresses, offsets and lengths; no disk wants more.
const DIRECT_ALIGN_BYTES: usize = 4096;

/// The machine's file systems.
#[derive(Debug)]
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        // `dir` itself too if it exists: an earlier process may have died between making and syncing it.
        let mut missing = vec![dir];
        let mut at = dir.parent();
        while let Some(path) = at.filter(|path| !path.as_os_str().is_empty() && !path.exists()) {
            missing.push(path);
            at = path.parent();
        }
        fs::create_dir_all(dir)?;
        for path in missing {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            self.sync_dir(parent.unwrap_or(Path::new(".")))?;
        }
        Ok(())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        // Messages and the peers' secret are nobody else's.
        options.read(true).mode(0o600);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::ReadWrite => options.write(true),
            OpenMode::CreateNew => options.write(true).create_new(true),
            OpenMode::CreateOrTruncate => options.write(true).create(true).truncate(true),
        };
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        names_in(dir, |kind| !kind.is_dir())
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        names_in(dir, |kind| kind.is_dir())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        if to.try_exists()? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn total_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        // Without what is reserved for root: a disk is full when an ordinary process finds it full.
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        Ok(used.saturating_add(stat.f_bavail).saturating_mul(stat.f_frsize))
    }

    fn boot_id(&self) -> io::Result<u128> {
        // Linux draws it at each start; elsewhere there is none, and every stop of the machine looks like one of ours.
        let text = match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            text => text?,
        };
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        u128::from_str_radix(&digits, 16).map_err(io::Error::other)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(RealLock { _file: file }))
    }
}

fn names_in(dir: &Path, wanted: impl Fn(fs::FileType) -> bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if wanted(entry.file_type()?) {
            let name = entry.file_name().into_string();
            names.push(name.map_err(|name| io::Error::other(format!("file name {} is not UTF-8", name.display())))?);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A locked file; closing it unlocks it, as the end of the process does.
struct RealLock {
    _file: fs::File,
}

impl DiskLock for RealLock {}

struct RealFile(fs::File);

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.0.read_at(&mut buf[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for group in slices.chunks(IOV_MAX) {
            let bytes: usize = group.iter().map(|slice| slice.len()).sum();
            let written = retry_interrupted(|| rustix::io::pwritev(&self.0, group, at))?;
            if written < bytes {
                write_rest(&self.0, group, written, at)?;
            }
            at += bytes as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        let found = self.0.metadata()?;
        let (number, written) = ((found.dev(), found.ino()), (found.mtime(), found.mtime_nsec()));
        Ok(FileIdentity { number, bytes: found.len(), written })
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let reserve = || rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, bytes);
        match retry_interrupted(reserve) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.fill_with_zeroes(bytes),
            result => result,
        }
    }

    fn shorten(&self, bytes: u64) -> io::Result<()> {
        if self.byte_len()? > bytes { self.0.set_len(bytes) } else { Ok(()) }
    }

    fn zero(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let direct = self.zero_past_cache(offset, bytes).unwrap_or(0);
        if direct < bytes {
            self.write_zeroes(offset + direct, offset + bytes)?;
        }
        Ok(())
    }

    fn reopen(&self) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(self.open_again(fs::OpenOptions::new().read(true))?)))
    }

    fn next_data(&self, from: u64) -> io::Result<u64> {
        // The handle's own position moves, which nobody uses: every call names its offset.
        match rustix::fs::seek(&self.0, rustix::fs::SeekFrom::Data(from)) {
            Ok(offset) => Ok(offset),
            Err(rustix::io::Errno::NXIO) => self.byte_len(),
            Err(_) => Ok(from),
        }
    }
}

impl RealFile {
    fn fill_with_zeroes(&self, bytes: u64) -> io::Result<()> {
        self.write_zeroes(self.byte_len()?, bytes)
    }

    fn write_zeroes(&self, start: u64, end: u64) -> io::Result<()> {
        let zeroes = vec![0; ZERO_CHUNK_BYTES];
        let mut at = start;
        while at < end {
            let chunk = ZERO_CHUNK_BYTES.min(usize::try_from(end - at).unwrap_or(usize::MAX));
            self.write_all_at(&zeroes[..chunk], at)?;
            at += chunk as u64;
        }
        Ok(())
    }

    /// The file has perhaps been renamed since it was opened; this opens it under any name, for writing.
    fn open_again(&self, options: &mut fs::OpenOptions) -> io::Result<fs::File> {
        options.write(true).open(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// Zeroes by direct I/O as much as can be, and says how much that was. What is in the page cache would be written
    /// back by the next sync of somebody who waits for his own bytes only.
    fn zero_past_cache(&self, offset: u64, bytes: u64) -> io::Result<u64> {
        let direct_flag = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let direct = self.open_again(fs::OpenOptions::new().custom_flags(direct_flag))?;
        let memory = vec![0; ZERO_CHUNK_BYTES + DIRECT_ALIGN_BYTES];
        let start = memory.as_ptr().align_offset(DIRECT_ALIGN_BYTES);
        let zeroes = &memory[start..start + ZERO_CHUNK_BYTES];
        let whole = bytes - bytes % DIRECT_ALIGN_BYTES as u64;
        let mut done = 0;
        while done < whole {
            let chunk = zeroes.len().min(usize::try_from(whole - done).unwrap_or(usize::MAX));
            match direct.write_at(&zeroes[..chunk], offset + done) {
                Ok(written) => done += written as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // For instance an offset that is not aligned for this disk; the caller knows another way.
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

fn retry_interrupted<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// The rare end of a short `pwritev`: writes what is left slice by slice.
fn write_rest(file: &fs::File, group: &[IoSlice<'_>], written: usize, offset: u64) -> io::Result<()> {
    let mut start = 0;
    for slice in group {
        let skip = written.saturating_sub(start).min(slice.len());
        if skip < slice.len() {
            file.write_all_at(&slice[skip..], offset + (start + skip) as u64)?;
        }
        start += slice.len();
    }
    Ok(())
}

#[cfg(test)]
#[path = "real_tests.rs"]
mod tests;
