//! A file that is ready to become a segment.

use crate::env::{Env, File, OpenMode};
use crate::storage::format::Salt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file's name in the log's folder until it becomes a segment.
pub(crate) const PREPARED_NAME: &str = "next.tmp";

/// A file that is ready to become a segment.
pub(crate) struct Prepared {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    pub(crate) bytes: u64,
    /// The salt of its earlier life, if it had one.
    pub(crate) former: Option<Salt>,
}

pub(super) fn create(env: &Env, path: &Path, bytes: u64) -> io::Result<Prepared> {
    let file = env.disk.open(path, OpenMode::CreateOrTruncate)?;
    if let Err(error) = file.allocate(bytes) {
        // What was allocated of it is given back; if that fails too, opening removes it.
        drop(env.disk.remove(path));
        return Err(error);
    }
    Ok(Prepared { path: path.into(), file, bytes, former: None })
}

/// Whether a call failed for want of space.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
