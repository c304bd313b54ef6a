//! A text of many lines out of sources and documents on this machine, always the same as long as those are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// Longer lines are left out: they are data, not text.
const LINE_BYTES_MAX: usize = 2_000;

/// The first `lines` lines that are not blank of all sources and documents below `folder`, in the order of their paths.
///
/// # Errors
/// If there are fewer.
pub fn gather(folder: &Path, lines: usize) -> Result<Vec<String>, Failure> {
    let mut text = Vec::with_capacity(lines);
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let (subfolders, files) = entries(&next);
        // Popped from the end, so that the order is that of the names.
        folders.extend(subfolders.into_iter().rev());
        for file in files {
            // What is not UTF-8 is no text.
            let Ok(content) = fs::read_to_string(&file) else { continue };
            text.extend(content.lines().filter(|line| is_text(line)).map(str::to_owned));
            if text.len() >= lines {
                text.truncate(lines);
                return Ok(text);
            }
        }
    }
    Err(Failure(format!("{} holds only {} lines of text, {lines} are needed", folder.display(), text.len())))
}

/// Where cargo keeps the sources of dependencies.
#[must_use]
pub fn cargo_registry() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    home.unwrap_or_default().join("registry").join("src")
}

/// Subfolders and texts of a folder, by name. An unreadable folder has neither.
fn entries(folder: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort_unstable();
    let (folders, files): (Vec<_>, Vec<_>) =
        paths.into_iter().filter(|path| !path.is_symlink()).partition(|path| path.is_dir());
    let is_text = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "rs" || kind == "md" || kind == "txt");
    (folders, files.into_iter().filter(is_text).collect())
}

fn is_text(line: &str) -> bool {
    !line.trim().is_empty() && line.len() <= LINE_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_the_order_of_paths_without_blank_ones() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("b/x.md", "three\n\n  \nfour"), ("a/y.rs", "one\r\ntwo\n"), ("a/z.bin", "no\n")] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        assert_eq!(gather(folder.path(), 4).unwrap(), ["one", "two", "three", "four"]);
        assert_eq!(gather(folder.path(), 2).unwrap(), ["one", "two"]);
        let error = gather(folder.path(), 5).unwrap_err().to_string();
        assert!(error.contains("only 4 lines"), "{error}");
    }
}
