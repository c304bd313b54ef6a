//! The log files of processes.

use std::{fs::File, path::Path};

use crate::failure::{Doing, Failure};

/// A log file to append to.
pub(crate) fn open_log(path: &Path) -> Result<File, Failure> {
    File::options().create(true).append(true).open(path).doing(|| format!("open {}", path.display()))
}

/// The last lines of a log, for error texts.
pub(crate) fn tail_of(path: &Path) -> String {
    const SHOWN_BYTES_MAX: usize = 2_000;
    let Ok(text) = std::fs::read(path) else { return String::new() };
    let shown = &text[text.len().saturating_sub(SHOWN_BYTES_MAX)..];
    format!("\n--- end of {} ---\n{}", path.display(), String::from_utf8_lossy(shown))
}
