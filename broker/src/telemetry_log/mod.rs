//! Logs of this process: structured lines on standard error, by `tracing`.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Logging};

/// Starts logging for the whole process. Once; a second call is an error.
///
/// # Errors
/// What is wrong with `logging.level`.
pub fn start(logging: &Logging) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(&logging.level).map_err(|error| format!("logging.level: `{}`: {error}", logging.level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match logging.format {
        LogFormat::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| format!("logging is started already: {error}"))
}
