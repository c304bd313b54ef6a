//! How a command ends.

use std::{error::Error, process::ExitCode};

/// How far a command got, or why it got nowhere.
pub(super) type Done = Result<Exit, Box<dyn Error>>;

/// The code of a command that went as far as it could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exit(u8);

impl Exit {
    /// Everything that it was asked for was done.
    pub(super) const DONE: Exit = Exit(0);
    /// It failed, or a part of it did.
    pub(super) const FAILED: Exit = Exit(1);
    /// Nobody leads, or nobody answers.
    pub(super) const UNAVAILABLE: Exit = Exit(3);

    /// By a signal, as shells say it.
    pub(super) fn by_signal(number: u8) -> Exit {
        Exit(128 + number)
    }

    pub(super) fn code(self) -> u8 {
        self.0
    }
}

/// From whether everything was done.
impl From<bool> for Exit {
    fn from(done: bool) -> Exit {
        if done { Exit::DONE } else { Exit::FAILED }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.0)
    }
}
