//! A real text, published line by line through the command line, and the proof that it came back.
//!
//! - [`gather`]: the text: what this machine has in its cargo registry.
//! - [`progress`]: how far the publishing is, seen from its file of acknowledgements.
//! - [`proof`]: line by line, what was acknowledged against what came back.

pub mod gather;
pub mod progress;
pub mod proof;
