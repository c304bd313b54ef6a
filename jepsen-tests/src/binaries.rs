//! Where the programs under test are: named by the environment, or beside the running program.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The server, `tercetd`; the variable `TERCETD` names another one.
///
/// # Errors
/// If there is no such program.
pub fn tercetd() -> Result<PathBuf, Failure> {
    find("tercetd", "TERCETD")
}

/// The command line, `tercet`; the variable `TERCET` names another one.
///
/// # Errors
/// If there is no such program.
pub fn tercet() -> Result<PathBuf, Failure> {
    find("tercet", "TERCET")
}

fn find(name: &str, variable: &str) -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os(variable).map(PathBuf::from) {
        return if path.is_file() {
            Ok(path)
        } else {
            Err(Failure(format!("{variable} names {}, which is no file; `make build` compiles it", path.display())))
        };
    }
    let own = std::env::current_exe().map_err(|error| Failure(format!("the running program's own path: {error}")))?;
    // Tests run from `target/debug/deps`, programs from `target/debug`.
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder: &Path| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Failure(format!("no {name} beside {}; `make build` compiles it", own.display())))
}
