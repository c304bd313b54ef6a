//! Where in the data folder the log lies, and the lock that keeps other processes away from it.

use super::error::OpenError;
use crate::env::{DiskLock, Env};
use std::io;
use std::path::Path;

/// The folder of the segments in the data folder.
pub(crate) const SEGMENTS_FOLDER: &str = "log";
/// The file that is locked while the log is open.
pub(crate) const LOCK_NAME: &str = "LOCK";

/// Keeps other processes away from the folder.
pub(super) fn lock(env: &Env, dir: &Path) -> Result<Box<dyn DiskLock>, OpenError> {
    let file = dir.join(LOCK_NAME);
    env.disk.lock(&file).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { file },
        _ => OpenError::Io { action: "locking", file, source },
    })
}
