//! Reads a stopped node's files: what is in them, what is wrong, and where. Changes nothing.
//!
//! ```text
//!   identity, manifest, hard state ─► whose they are, what the log must consist of
//!   segments, one after the other  ─► every record checked as at a read; damage is walked past, not stopped at
//!   indexes and checkpoints        ─► their own checksums
//!                                     │
//!   verify ◄── Report: summaries, findings ──► dump: each record of a range as well
//! ```
//! It is what an operator asks before and after an accident. It takes the folder's lock while it reads, so that no node
//! starts beneath it, and refuses a folder that a running node holds. It repairs nothing: a node does that by itself.

mod copies;
mod error;
mod files;
mod report;
mod segments;

pub use error::InspectError;
pub use report::{
    CheckpointSummary, Dumped, Finding, IdentitySummary, ManifestSummary, Report, SegmentSummary, Severity,
};

use error::failed;

use crate::env::{DiskLock, Env};
use crate::storage::{LOCK_NAME, SEGMENTS_FOLDER};
use crate::types::LogIndex;
use std::io;
use std::ops::Range;
use std::path::Path;

/// Reads and checks everything in the data folder `dir`. Blocks: it reads every byte of the log.
///
/// # Errors
/// See [`InspectError`]; damage is no error, but a [`Finding`].
pub fn verify(env: &Env, dir: &Path) -> Result<Report, InspectError> {
    dump(env, dir, LogIndex(0)..LogIndex(u64::MAX), &mut |_| {})
}

/// Like [`verify`], but reads only the segments that hold entries of `range`, and shows each record of it.
///
/// # Errors
/// See [`InspectError`].
pub fn dump(
    env: &Env,
    dir: &Path,
    range: Range<LogIndex>,
    visit: &mut dyn FnMut(Dumped<'_>),
) -> Result<Report, InspectError> {
    let folder = dir.join(SEGMENTS_FOLDER);
    let lock = lock(env, dir)?;
    let mut report = files::read(env, dir, &folder)?;
    segments::read(env, &folder, &range, &mut report, visit)?;
    copies::read_checkpoints(env, dir, &mut report)?;
    drop(lock);
    Ok(report)
}

/// Keeps nodes away from `dir`. A folder without a lock file never had one, and gets none.
fn lock(env: &Env, dir: &Path) -> Result<Option<Box<dyn DiskLock>>, InspectError> {
    let file = dir.join(LOCK_NAME);
    if !env.disk.exists(&file).map_err(failed("looking for", &file))? {
        return Ok(None);
    }
    match env.disk.lock(&file) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(InspectError::Locked { file }),
        Err(source) => Err(InspectError::Io { action: "locking", file, source }),
    }
}
