//! What a checker says of a promise that was broken.

use std::fmt;

/// A promise broken, in words that name message, queue, offset, node or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
