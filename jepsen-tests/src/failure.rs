//! Why a proof could not be carried out: an error in words. A broken promise is not one of these, but a
//! [`Violation`](crate::checkers::Violation).

use std::fmt;

/// A failure of the proof itself, with everything that a person needs to know in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Adds what was being done to an error that does not say it.
pub trait Doing<T> {
    /// The error becomes `what: error`.
    ///
    /// # Errors
    /// If `self` is one.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure(format!("{}: {error}", what())))
    }
}
