//! Why a checkpoint could not be made, read or removed.

use std::io;
use std::path::{Path, PathBuf};

use crate::types::LogIndex;

/// Why a checkpoint could not be made, read or removed. The others are not touched by it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error("{action} {path} failed: {source}", path = path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} is damaged: {reason}", path = path.display())]
    Damaged { path: PathBuf, reason: String },
    /// Somebody else makes, or has made, one of the same entry; it comes or is there.
    #[error("a checkpoint at index {0} is made by somebody else just now")]
    Taken(LogIndex),
}

impl From<CheckpointError> for io::Error {
    fn from(error: CheckpointError) -> io::Error {
        io::Error::other(error)
    }
}

pub(super) fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> CheckpointError + 'a {
    move |source| CheckpointError::Io { action, path: path.into(), source }
}
