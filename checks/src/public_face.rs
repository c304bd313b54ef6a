//! What a library shows, as text: a line for each item, from the JSON that rustdoc writes of it.
//!
//! Left out is what every type has: blanket implementations, and those of auto traits and of `Debug` and the like.

use std::{fs, path::Path};

/// Why a face cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FaceError {
    /// The JSON is missing, or of another rustdoc than the one that this program knows.
    #[error("{}: {source}", .path.display())]
    Json { path: std::path::PathBuf, source: public_api::Error },
    /// The text that was agreed on cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Agreed { path: std::path::PathBuf, source: std::io::Error },
}

/// The face as text.
fn of(json: &Path) -> Result<String, FaceError> {
    let builder = public_api::Builder::from_rustdoc_json(json);
    let builder = builder.omit_blanket_impls(true).omit_auto_trait_impls(true).omit_auto_derived_impls(true);
    let face = builder.build().map_err(|source| FaceError::Json { path: json.to_owned(), source })?;
    Ok(face.items().map(|item| format!("{item}\n")).collect())
}

/// Writes the face of today to where the one stands that was agreed on.
pub(crate) fn agree(json: &Path, agreed: &Path) -> Result<(), FaceError> {
    fs::write(agreed, of(json)?).map_err(|source| FaceError::Agreed { path: agreed.to_owned(), source })
}

/// The lines that differ from what was agreed on, each with a `+` or a `-`.
pub(crate) fn differences(json: &Path, agreed: &Path) -> Result<Vec<String>, FaceError> {
    let wanted = fs::read_to_string(agreed).map_err(|source| FaceError::Agreed { path: agreed.to_owned(), source })?;
    Ok(differing(&of(json)?, &wanted))
}

fn differing(now: &str, wanted: &str) -> Vec<String> {
    let missing = |text: &str, sign: char, in_text: &str| -> Vec<String> {
        let there: std::collections::BTreeSet<&str> = in_text.lines().collect();
        text.lines().filter(|line| !there.contains(line)).map(|line| format!("{sign}{line}")).collect()
    };
    let mut all = missing(wanted, '-', now);
    all.extend(missing(now, '+', wanted));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_what_went_is_told() {
        assert_eq!(differing("a\nb\nd\n", "a\nc\nd\n"), ["-c", "+b"]);
        assert!(differing("a\n", "a\n").is_empty());
    }
}
