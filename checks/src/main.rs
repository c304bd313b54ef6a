//! Checks of this workspace's own source that no lint makes: `checks circles [CRATE_DIR...]`, which `make verify` calls.

mod circles;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(("circles", folders)) = arguments.split_first().map(|(check, rest)| (check.as_str(), rest)) else {
        eprintln!("checks circles [CRATE_DIR...]: without a folder, every crate below the current one");
        return ExitCode::from(2);
    };
    let folders = if folders.is_empty() { crates_here() } else { folders.iter().map(PathBuf::from).collect() };
    let mut found = false;
    for folder in &folders {
        match circles::of(folder) {
            Ok(circles) => {
                found |= !circles.is_empty();
                for circle in circles {
                    print!("{circle}");
                }
            }
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::from(u8::from(found))
}

/// The crates whose folders lie in the current one, by name.
fn crates_here() -> Vec<PathBuf> {
    let Ok(entries) = Path::new(".").read_dir() else { return Vec::new() };
    let mut folders: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| PathBuf::from(entry.file_name()))
        .filter(|folder| folder.join("Cargo.toml").is_file() && folder.join("src").is_dir())
        .collect();
    folders.sort();
    folders
}
