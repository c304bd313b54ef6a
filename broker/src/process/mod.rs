//! What all processes of `tercetd` have in common: the signals that they heed, what a panic does, and the errors that end
//! them.

mod panic;
mod signals;

use std::io;

use tokio::task::JoinError;

pub(crate) use panic::{heed_panics, panicked};
pub use signals::{Asked, Signals};

use crate::{
    listen::{ListenError, TlsError},
    node::TooFewDescriptors,
};

/// Why a process ended without being asked to. The text names what the operator can change.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A port could not be taken.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Too few files may be open.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// The data folder could not be opened.
    #[error("cannot open the data folder {folder}: {source}")]
    Open {
        /// Which.
        folder: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The node can no longer keep its promises, for instance after a failed fsync.
    #[error("the node stopped itself: {0}")]
    Fatal(String),
    /// A server ended by itself.
    #[error("the {what} server failed: {reason}")]
    Server {
        /// Which.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The system refused something basic, such as a signal handler.
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}

impl ProcessError {
    /// A server's task ended before it was asked to.
    pub(crate) fn server(what: &'static str, outcome: &Result<(), JoinError>) -> ProcessError {
        let reason = match outcome {
            Ok(()) => "it ended by itself".to_owned(),
            Err(error) => error.to_string(),
        };
        ProcessError::Server { what, reason }
    }
}

/// Names the process that `tercetd dev` started this one from.
pub(crate) const DEV_PARENT: &str = "TERCET_DEV_PARENT";

/// A child of `tercetd dev` dies with it, even if it is killed. One that was started again by hand lives on its own,
/// although it may have the same environment.
///
/// # Errors
/// The system cannot do that.
pub fn die_with_dev() -> io::Result<()> {
    let Some(parent) = std::env::var(DEV_PARENT).ok().and_then(|text| text.parse::<i32>().ok()) else { return Ok(()) };
    let is_parent = || rustix::process::getppid().is_some_and(|pid| pid.as_raw_nonzero().get() == parent);
    if !is_parent() {
        return Ok(());
    }
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    if !is_parent() {
        // It died between the two lines.
        return Err(io::Error::other("tercetd dev is gone"));
    }
    Ok(())
}
