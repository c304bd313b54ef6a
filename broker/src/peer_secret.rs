//! The file with the secret by which the nodes of a cluster know each other (`peer.secret_file`).

use std::{
    fs,
    io::{self, Read, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use raft_log::{PeerSecret, SecretParseError, env::Env};

/// More than a secret and its line's end is none.
const FILE_BYTES_MAX: u64 = 1024;
/// Whoever else may do anything with the file.
const OTHERS: u32 = 0o077;

/// Why there is no secret in a file, or none could be made.
#[derive(Debug, thiserror::Error)]
pub enum PeerSecretError {
    /// The operating system refused.
    #[error("{action} {file} failed: {source}", file = .file.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner can read or change it.
    #[error("{file} is open to others (mode {mode:04o}): chmod 600 {file}", file = .file.display())]
    OpenToOthers {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What it holds is no secret.
    #[error("{file}: {source}", file = .file.display())]
    Parse {
        /// The file.
        file: PathBuf,
        /// Why.
        source: SecretParseError,
    },
}

fn failed(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> PeerSecretError {
    move |source| PeerSecretError::Io { action, file: file.to_owned(), source }
}

/// The secret in this file, which must be nobody else's to read or to write.
///
/// # Errors
/// See [`PeerSecretError`].
pub fn read(file: &Path) -> Result<PeerSecret, PeerSecretError> {
    let mut opened = fs::File::open(file).map_err(failed("opening", file))?;
    let mode = opened.metadata().map_err(failed("looking at", file))?.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(PeerSecretError::OpenToOthers { file: file.to_owned(), mode });
    }
    let mut text = String::new();
    Read::take(&mut opened, FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed("reading", file))?;
    PeerSecret::parse(&text).map_err(|source| PeerSecretError::Parse { file: file.to_owned(), source })
}

/// Makes a new secret in a new file that only its owner can read, durably.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn create(file: &Path) -> Result<(), PeerSecretError> {
    let secret = PeerSecret::generate(&*Env::real().rng);
    let mut options = fs::OpenOptions::new();
    let mut made = options.write(true).create_new(true).mode(0o600).open(file).map_err(failed("making", file))?;
    writeln!(made, "{}", secret.to_text()).map_err(failed("writing", file))?;
    made.sync_all().map_err(failed("writing", file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_secret_is_its_owners_alone_and_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        create(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let secret = read(&file).unwrap();
        assert!(matches!(create(&file), Err(PeerSecretError::Io { action: "making", .. })));
        assert_eq!(read(&file).unwrap(), secret);
    }

    #[test]
    fn a_file_that_others_may_read_or_that_holds_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        create(&file).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let refused = read(&file).unwrap_err().to_string();
            assert!(refused.contains("chmod 600"), "{refused}");
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "password\n").unwrap();
        assert!(matches!(read(&file), Err(PeerSecretError::Parse { .. })));
    }
}
