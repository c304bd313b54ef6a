//! The contract of a disk.
//!
//! What an implementation MUST do, and what a caller MUST NOT assume:
//!
//! ```text
//!   write_vectored_at ──► page cache ──sync_data──► durable bytes of a file
//!   create/rename/remove ──► directory in memory ──sync_dir──► durable names
//! ```
//! * Bytes are durable only after `sync_data` or `sync_all` returned `Ok`; names only after `sync_dir` of their
//!   directory returned `Ok` (hazards 5). Before that, a power loss may keep any subset of the sectors.
//! * The error of a write-back is told once to each open file that was open then, at its next sync (Linux's `errseq`), and to
//!   one opened later only if nobody was told yet (hazards 31).
//! * After a failed sync nothing that was written since the last good one may be assumed, ever: a second sync that
//!   succeeds proves nothing. Callers stop instead of retrying.
//! * A place that the device cannot read fails each time with a media error ([`is_media_error`]) until all of the block
//!   that it lies in is written anew; what lies around it reads as ever. Files are read by calls that can say so and
//!   never through memory maps, where the same error kills the process.

use crate::planted::{self, Bug};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// What a device cannot read is lost in whole blocks of this size, and writing part of such a block fails too, because
/// the rest of it must be read first.
pub const BLOCK_BYTES: u64 = 4_096;

/// What the operating system says when the device could not read: the medium is bad there, a check of the device or the
/// file system failed. Buffered reads say `EIO` for all of them.
const MEDIA_ERRORS: [rustix::io::Errno; 6] = [
    rustix::io::Errno::IO,
    rustix::io::Errno::NODATA,
    rustix::io::Errno::ILSEQ,
    rustix::io::Errno::REMOTEIO,
    rustix::io::Errno::UCLEAN,
    rustix::io::Errno::BADMSG,
];

/// Whether a read failed because of what is to be read: the bytes are lost, and a retry gives nothing else. Errors for
/// want of memory and the like are not.
#[must_use]
pub fn is_media_error(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    errno.is_some_and(|errno| MEDIA_ERRORS.contains(&errno)) && !planted::is(Bug::ReadErrorFatal)
}

/// The error of a place that cannot be read.
pub(crate) fn media_error() -> io::Error {
    rustix::io::Errno::IO.into()
}

/// How [`Disk::open`] opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; writing fails.
    Read,
    /// Must exist.
    ReadWrite,
    /// Must not exist; it is created.
    CreateNew,
    /// Is created, or emptied if it exists.
    CreateOrTruncate,
}

/// What a file is: two handles of the same identity read the same bytes, by whatever names they were opened. It changes
/// when the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileIdentity {
    /// The device, and the file's number on it.
    pub number: (u64, u64),
    /// Its length.
    pub bytes: u64,
    /// When it was written last, as the file system counts; names do not matter.
    pub written: (i64, i64),
}

/// Held until dropped: no other process (nor another lock in this one) holds the same file.
pub trait DiskLock: Send + Sync {}

/// Files and directories. All calls block.
pub trait Disk: Send + Sync + 'static {
    /// Creates `dir` and its missing parents, and makes the new names durable.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Opens a file. A created name is durable only after [`Disk::sync_dir`].
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Names of the files in `dir` (not of its directories), sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Names of the directories in `dir`, sorted.
    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Removes an empty directory; durable after `sync_dir` of its parent.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Whether a file or directory of this name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Gives a file another name in the same directory, replacing what had it. Atomic; durable after `sync_dir`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a directory another name in the same parent, where nothing of that name is. Atomic; durable after `sync_dir` of
    /// the parent.
    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name; its bytes live on while somebody has it open.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes all names of `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that an unprivileged process can still allocate where `dir` is.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Bytes of the file system where `dir` is that unprivileged processes can use, used and free together.
    fn total_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Names the system's present run. While it stays the same, what was written is still there even if it was not synced.
    /// A disk that cannot tell always answers 0.
    fn boot_id(&self) -> io::Result<u128> {
        Ok(0)
    }
    /// Creates the file if needed and locks it; [`io::ErrorKind::WouldBlock`] if somebody else holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
}

/// One open file. All calls name their offset, so one handle serves any number of threads.
pub trait File: Send + Sync + 'static {
    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all slices one after the other at `offset`. On an error any part may have been written.
    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Makes the bytes durable, and the length if it changed.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes the bytes and all of the file's metadata durable.
    fn sync_all(&self) -> io::Result<()>;
    /// The file's length in bytes.
    fn byte_len(&self) -> io::Result<u64>;
    /// What it is now.
    fn identity(&self) -> io::Result<FileIdentity>;
    /// Reserves space for the first `bytes` bytes and makes the file at least that long; what is new reads as zero.
    /// Writes inside the reserved space do not fail for want of space.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Cuts the file to `bytes` bytes if it is longer, and gives the space back. Not durable until it is synced.
    fn shorten(&self, bytes: u64) -> io::Result<()>;
    /// Opens the file once more, by whatever name it has now. The system tells each open file of a failed write-back once:
    /// whoever syncs beside the one that writes uses another open file, or takes his errors (hazards 31).
    fn reopen(&self) -> io::Result<Arc<dyn File>>;
    /// Overwrites `bytes` bytes at `offset` with zeroes, whether they are reserved or written; durable after a sync. Nobody
    /// else may write there meanwhile; writes to other places of the file are not held up by it.
    fn zero(&self, offset: u64, bytes: u64) -> io::Result<()>;
    /// The first offset at or after `from` that may hold something else than zero; at most the file's length. Lets a
    /// reader skip space that was reserved and never written.
    fn next_data(&self, from: u64) -> io::Result<u64>;

    /// Writes one slice at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_vectored_at(&[IoSlice::new(bytes)], offset)
    }

    /// Fills `buf` from `offset`; [`io::ErrorKind::UnexpectedEof`] if the file ends before.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let read = self.read_at(buf, offset)?;
        if read == buf.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}
