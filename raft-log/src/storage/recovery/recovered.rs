//! What recovery ends with, and how it fails.

use crate::storage::catalog::Catalog;
use crate::storage::hard_state::LoadedHardState;
use crate::storage::io::Prepared;
use crate::storage::manifest::Manifest;
use crate::storage::terms::Terms;
use crate::storage::{OpenError, RecoveryReport};
use crate::types::{LogId, LogIndex};
use std::io;
use std::path::Path;

/// A log that can go on.
pub(crate) struct Recovered {
    pub(crate) manifest: Manifest,
    pub(crate) hard_state: LoadedHardState,
    pub(crate) catalog: Catalog,
    pub(crate) terms: Terms,
    pub(crate) last: Option<LogId>,
    pub(crate) next: LogIndex,
    /// The highest durable mark that was found, exclusive.
    pub(crate) marked_end: LogIndex,
    /// Files of released segments, to be used again.
    pub(crate) spares: Vec<Prepared>,
    /// The saved index of the newest segment covers the records before this offset.
    pub(crate) indexed_to: u64,
    /// A truncation was under way: the newest segment keeps what was before it, and the next entry begins another one.
    pub(crate) goes_on_elsewhere: bool,
    pub(crate) report: RecoveryReport,
}

/// An I/O error as one of opening.
pub(super) fn during(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let file = file.to_path_buf();
    move |source| OpenError::Io { action, file, source }
}
