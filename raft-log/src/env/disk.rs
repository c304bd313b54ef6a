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
//! * After a failed sync nothing that was written since the last good one may be assumed, ever: a second sync that
//!   succeeds proves nothing. Callers stop instead of retrying.
//! * A file that shrinks while it is mapped kills the reader: callers unlink files, they never shrink them.

use bytes::Bytes;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

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
    /// Removes a file's name; its bytes live on while somebody has it open or mapped.
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
    /// Reserves space for the first `bytes` bytes and makes the file at least that long; what is new reads as zero.
    /// Writes inside the reserved space do not fail for want of space.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Cuts the file to `bytes` bytes if it is longer, and gives the space back. Not durable until it is synced.
    fn shorten(&self, bytes: u64) -> io::Result<()>;
    /// Overwrites `bytes` bytes at `offset` with zeroes, whether they are reserved or written, and makes that durable. Nobody
    /// else may write there meanwhile; writes to other places of the file are not held up by it.
    fn zero(&self, offset: u64, bytes: u64) -> io::Result<()>;
    /// The first offset at or after `from` that may hold something else than zero; at most the file's length. Lets a
    /// reader skip space that was reserved and never written.
    fn next_data(&self, from: u64) -> io::Result<u64>;
    /// The first `bytes` bytes as shared read-only memory, or `None` where mapping is not offered.
    fn map(&self, bytes: u64) -> io::Result<Option<Bytes>>;

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
