//! The files from which a crate's modules hang, and the name by which its programs know its library.

use std::fs;
use std::path::{Path, PathBuf};

/// Library first, if there is one.
pub(super) fn root_files(crate_folder: &Path) -> Vec<PathBuf> {
    let source = crate_folder.join("src");
    let mut files: Vec<PathBuf> =
        ["lib.rs", "main.rs"].iter().map(|name| source.join(name)).filter(|path| path.is_file()).collect();
    files.extend(programs(&source.join("bin")));
    files.extend(programs(&crate_folder.join("examples")));
    files
}

/// As Cargo finds them: `NAME.rs` and `NAME/main.rs`.
fn programs(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| if entry.path().is_dir() { entry.path().join("main.rs") } else { entry.path() })
        .filter(|path| path.extension().is_some_and(|is| is == "rs") && path.is_file())
        .collect();
    files.sort();
    files
}

/// As it stands in paths: the first `name` of `Cargo.toml`, which is the package's.
pub(super) fn crate_name(crate_folder: &Path) -> Option<String> {
    let manifest = fs::read_to_string(crate_folder.join("Cargo.toml")).ok()?;
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))?;
    Some(name.replace('-', "_"))
}
