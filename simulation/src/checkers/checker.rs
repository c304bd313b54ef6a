//! What a checker is, and what it says when its promise is broken.

use raft_log::sim::observe::Event;

use crate::view::View;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Who noticed.
    pub checker: &'static str,
    /// What is wrong.
    pub what: String,
}

/// Watches one promise.
pub trait Checker {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Looks at an event; `view` is what was known before it.
    ///
    /// # Errors
    /// Says what is wrong.
    fn check(&mut self, view: &View, event: &Event) -> Result<(), String>;
}
