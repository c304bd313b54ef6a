//! What is said beside the results: on standard error, and never waited for (hazards 40).

use std::{sync::OnceLock, time::Duration};

use tercet_output::{LineWriter, Lines};

/// The last words of a process get this long to be written.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// One standard error, one writer.
static LINES: OnceLock<Option<Lines>> = OnceLock::new();

fn lines() -> Option<&'static Lines> {
    // Without a thread or a descriptor for it nothing is said.
    LINES.get_or_init(|| Lines::stderr().ok()).as_ref()
}

/// Says a line.
pub(super) fn notice(text: impl Into<String>) {
    if let Some(lines) = lines() {
        lines.say(text);
    }
}

/// Waits until it is said, but not for ever.
pub(super) fn flush() {
    if let Some(lines) = lines() {
        lines.flush(LAST_WORDS_MAX);
    }
}

/// For the library's own log.
pub(super) fn writer() -> Box<dyn std::io::Write> {
    match lines() {
        Some(lines) => Box::<LineWriter>::new(lines.writer()),
        None => Box::new(std::io::sink()),
    }
}
