//! Why the development cluster ended.

use std::{io, path::PathBuf, time::Duration};

use crate::config::ConfigError;

/// From the start of the processes until all of them serve; a long log takes a while to re-apply.
pub(super) const READY_MAX: Duration = Duration::from_secs(120);

/// Why the development cluster ended.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// A `--set` is wrong.
    #[error("the configuration is wrong:\n{0}")]
    Config(#[from] ConfigError),
    /// A file or folder could not be made.
    #[error("cannot write {}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else runs it.
    #[error("another `tercetd dev` runs in {}", .0.display())]
    Running(PathBuf),
    /// A child could not be started.
    #[error("cannot start {name}: {source}")]
    Spawn {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A child ended before the group was ready.
    #[error("{name} ended with {status} before the group was ready; its log {} ends with:\n{tail}", .log.display())]
    ChildEnded {
        /// Which.
        name: String,
        /// How.
        status: String,
        /// Where it wrote why.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The nodes do not take the bootstrap.
    #[error("the group could not be made: {0}")]
    Bootstrap(String),
    /// The group does not come up.
    #[error("not ready after {} s: {missing}", READY_MAX.as_secs())]
    NotReady {
        /// Who is not, and why.
        missing: String,
    },
    /// The system refused something basic.
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}
