//! Logs of this process: structured lines on standard error, by `tracing`. Whoever logs neither waits nor fails, wherever
//! standard error leads (hazards 40).

use std::io;

use tercet_output::Lines;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Logging};

/// Starts logging for the whole process. Once; a second call is an error.
///
/// # Errors
/// What is wrong with `logging.level`.
pub fn start(logging: &Logging, lines: Lines) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(&logging.level).map_err(|error| format!("logging.level: `{}`: {error}", logging.level))?;
    // Errors inside of logging are otherwise printed by `eprintln!`, which panics where it cannot.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || lines.writer())
        .log_internal_errors(false);
    let started = match logging.format {
        LogFormat::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| format!("logging is started already: {error}"))
}
