//! Why a folder could not be inspected.

use crate::storage::SEGMENTS_FOLDER;
use std::io;
use std::path::{Path, PathBuf};

/// Why a folder could not be inspected at all.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A node is running on it. Stop it first: what it is writing would look like damage.
    #[error("{file} is locked: a running node uses this folder; stop it first", file = .file.display())]
    Locked {
        /// The lock file.
        file: PathBuf,
    },
    /// There is no node's data here.
    #[error("{dir} holds no log: neither a manifest nor a folder `{SEGMENTS_FOLDER}`", dir = .dir.display())]
    NoLog {
        /// The folder.
        dir: PathBuf,
    },
    /// The operating system refused.
    #[error("{action} {file} failed: {source}", file = .file.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or folder.
        file: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}

pub(super) fn failed(action: &'static str, file: &Path) -> impl Fn(io::Error) -> InspectError {
    let file = file.to_path_buf();
    move |source| InspectError::Io { action, file: file.clone(), source }
}
