//! Checks of this workspace's own source that no lint makes; `make verify` calls them.

mod circles;
mod public_face;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
checks circles [CRATE_DIR...]            no circle of files; without a folder, every crate below the current one
checks public-face JSON TEXT [--agree]   what a library shows (rustdoc's JSON) is what the text says; --agree writes it";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["circles", ref folders @ ..] => circles(folders),
        ["public-face", json, text] => public_face(json.as_ref(), text.as_ref(), false),
        ["public-face", json, text, "--agree"] => public_face(json.as_ref(), text.as_ref(), true),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn circles(folders: &[&str]) -> ExitCode {
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

fn public_face(json: &Path, text: &Path, agrees: bool) -> ExitCode {
    let done =
        if agrees { public_face::agree(json, text).map(|()| Vec::new()) } else { public_face::differences(json, text) };
    match done {
        Ok(differences) if differences.is_empty() => ExitCode::SUCCESS,
        Ok(differences) => {
            println!("the public face differs from {}:", text.display());
            differences.iter().for_each(|line| println!("{line}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
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
