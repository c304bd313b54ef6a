//! What lies in the folder of checkpoints, and what is wrong with it, for tools: changes nothing.

use std::path::{Path, PathBuf};

use super::complete::Checkpoint;
use super::error::CheckpointError;
use super::folder::FOLDER;
use super::manifest::Manifest;
use crate::env::Env;
use crate::storage::OpenError;
use crate::types::LogId;

/// One checkpoint's folder.
pub(crate) struct Surveyed {
    pub(crate) dir: PathBuf,
    /// The last entry in its state, and the bytes of the state; unknown without a readable manifest.
    pub(crate) content: Option<(LogId, u64)>,
    /// What is wrong: the file and the reason.
    pub(crate) problem: Option<(PathBuf, String)>,
    /// It has no manifest: making or removing it was cut short.
    pub(crate) is_half_made: bool,
}

/// Reads and checks every checkpoint of the data folder.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn survey(env: &Env, data: &Path) -> std::io::Result<Vec<Surveyed>> {
    let folder = data.join(FOLDER);
    if !env.disk.exists(&folder)? {
        return Ok(Vec::new());
    }
    let names = env.disk.list_dirs(&folder)?;
    Ok(names.into_iter().map(|name| look(env, folder.join(name))).collect())
}

fn look(env: &Env, dir: PathBuf) -> Surveyed {
    let file = Manifest::path(&dir);
    let checkpoint = match Manifest::load(env, &dir) {
        Ok(Some(manifest)) => Checkpoint::new(dir.clone(), manifest, Vec::new()),
        Ok(None) => return Surveyed { dir, content: None, problem: None, is_half_made: true },
        Err(error) => {
            let reason = match error {
                OpenError::Damaged { reason, .. } => reason,
                other => other.to_string(),
            };
            return Surveyed { dir, content: None, problem: Some((file, reason)), is_half_made: false };
        }
    };
    let of_manifest = Manifest::fault(env, &dir).ok().flatten().map(|fault| (file, fault));
    let of_state = match checkpoint.verify(env) {
        Ok(()) => None,
        Err(CheckpointError::Damaged { path, reason }) => Some((path, reason)),
        Err(error @ CheckpointError::Taken(_)) => Some((dir.clone(), error.to_string())),
        Err(CheckpointError::Io { path, action, source }) => Some((path, format!("{action} it failed: {source}"))),
    };
    let content = Some((checkpoint.id(), checkpoint.manifest.bytes()));
    Surveyed { dir, content, problem: of_state.or(of_manifest), is_half_made: false }
}
