//! Circles of files: files of a crate of which each needs, through the others, itself. Such files can be understood only
//! all at once, whatever their sizes.
//!
//! ```text
//!   src/**.rs ─► tree: modules, what each one defines, imports and mentions
//!                 └─► names: which file defines what a path means ─► arrows: file ─► file ─► circles
//! ```
//! An arrow goes from a file that names something to the file that defines it, through any number of re-exports. To
//! declare a module or to re-export a name (`mod x;`, `pub use x::Y;`) is no arrow: a `mod.rs` that does only this ties
//! nothing. What only tests see is left out, but for whole files: those count like others, without the tests in them.
//!
//! Paths are followed, types are not: a method that is called on a value without its type being named is no arrow.

mod arrows;
mod mentions;
mod names;
mod only_tests;
mod roots;
mod tree;

#[cfg(test)]
mod tests;

pub(crate) use arrows::Circle;
pub(crate) use tree::SourceError;

use std::path::Path;

/// The circles among the files of the crate in this folder, ordered by their first files.
///
/// # Errors
/// When a file of the crate cannot be found, read or parsed.
pub(crate) fn of(crate_folder: &Path) -> Result<Vec<Circle>, SourceError> {
    let tree = tree::Tree::of(crate_folder)?;
    Ok(arrows::circles(&tree))
}
