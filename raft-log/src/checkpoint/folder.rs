//! The folder of all kept checkpoints: making, finding, reading, thinning.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use crate::checkpoint::manifest::{CHUNK_BYTES, Chunk, Manifest, STATE_FOLDER, StateFile, is_plain_name};
use crate::env::{Env, File, OpenMode, is_media_error};
use crate::state_machine::AppliedPoint;
use crate::storage::OpenError;
use crate::types::{GroupId, LogId, LogIndex};

/// The folder's name in the data folder.
pub(super) const FOLDER: &str = "checkpoints";
/// How the name of the folder ends into which a checkpoint comes in.
const INCOMING_END: &str = ".incoming";
/// How many digits a checkpoint's name has, so that names sort as numbers do.
const NAME_DIGITS: usize = 20;

/// Why a checkpoint could not be made, read or removed. The others are not touched by it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error("{action} {path} failed: {source}", path = path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} is damaged: {reason}", path = path.display())]
    Damaged { path: PathBuf, reason: String },
    /// Somebody else makes, or has made, one of the same entry; it comes or is there.
    #[error("a checkpoint at index {0} is made by somebody else just now")]
    Taken(LogIndex),
}

impl From<CheckpointError> for io::Error {
    fn from(error: CheckpointError) -> io::Error {
        io::Error::other(error)
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> CheckpointError + 'a {
    move |source| CheckpointError::Io { action, path: path.into(), source }
}

/// One complete checkpoint. While somebody holds it, it is not removed.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(super) dir: PathBuf,
    pub(crate) manifest: Manifest,
}

impl Checkpoint {
    pub(crate) fn id(&self) -> LogId {
        self.manifest.id()
    }

    /// The folder of the state's files.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join(STATE_FOLDER)
    }

    /// Reads one chunk and checks it. Blocks.
    pub(crate) fn read(&self, env: &Env, chunk: Chunk) -> Result<Bytes, CheckpointError> {
        let path = self.state().join(&self.manifest.files[chunk.file].name);
        let file = env.disk.open(&path, OpenMode::Read).map_err(failed("opening", &path))?;
        let mut bytes = vec![0; chunk.bytes];
        match file.read_exact_at(&mut bytes, chunk.offset) {
            Err(error) if is_media_error(&error) || error.kind() == io::ErrorKind::UnexpectedEof => {
                let reason = format!("the chunk at {} cannot be read: {error}", chunk.offset);
                return Err(CheckpointError::Damaged { path, reason });
            }
            read => read.map_err(failed("reading", &path))?,
        }
        if crc32c::crc32c(&bytes) != chunk.crc {
            return Err(CheckpointError::Damaged {
                path,
                reason: format!("the chunk at {} has another CRC", chunk.offset),
            });
        }
        Ok(bytes.into())
    }

    /// Checks every byte. Blocks for as long as reading all of it takes.
    pub(crate) fn verify(&self, env: &Env) -> Result<(), CheckpointError> {
        for file in &self.manifest.files {
            let path = self.state().join(&file.name);
            let opened = env.disk.open(&path, OpenMode::Read).map_err(failed("opening", &path))?;
            let found = opened.byte_len().map_err(failed("measuring", &path))?;
            if found != file.bytes {
                let reason = format!("it has {found} bytes, its checkpoint {} says {}", self.id(), file.bytes);
                return Err(CheckpointError::Damaged { path, reason });
            }
        }
        self.manifest.chunks().try_for_each(|chunk| self.read(env, chunk).map(|_| ()))
    }
}

/// All checkpoints of a data folder, ascending.
pub(crate) struct Checkpoints {
    env: Env,
    dir: PathBuf,
    group: GroupId,
    kept: Mutex<Vec<Arc<Checkpoint>>>,
    /// The index of the one that this node makes of its own state just now. Held while another one takes its name.
    making: Mutex<Option<LogIndex>>,
}

impl Checkpoints {
    /// Opens the folder and removes what is half made or damaged. Blocks.
    ///
    /// # Errors
    /// A newer version wrote one, or the disk refused.
    pub(crate) fn open(env: &Env, data: &Path, group: GroupId) -> Result<Checkpoints, OpenError> {
        let dir = data.join(FOLDER);
        let io = |action, file: &Path| {
            let file = file.to_owned();
            move |source| OpenError::Io { action, file, source }
        };
        env.disk.create_dir_all(&dir).map_err(io("creating", &dir))?;
        let checkpoints =
            Checkpoints { env: env.clone(), dir: dir.clone(), group, kept: Mutex::default(), making: Mutex::default() };
        for name in env.disk.list_dirs(&dir).map_err(io("listing", &dir))? {
            let of = dir.join(&name);
            if name.ends_with(INCOMING_END) {
                tracing::info!(dir = %of.display(), "a checkpoint that has not come in whole is removed");
                checkpoints.erase(&of).map_err(|error| removing(&of, error))?;
                continue;
            }
            match Manifest::load(env, &of) {
                Ok(Some(manifest)) if manifest.group != group => {
                    return Err(OpenError::OtherGroup {
                        file: Manifest::path(&of),
                        found: manifest.group,
                        expected: group,
                    });
                }
                Ok(Some(manifest)) if of == checkpoints.dir_of(manifest.id().index) => {
                    checkpoints.kept().push(Arc::new(Checkpoint { dir: of, manifest }));
                    continue;
                }
                Ok(Some(_)) => {
                    tracing::warn!(dir = %of.display(), "a checkpoint lies under a wrong name; it is removed")
                }
                Ok(None) => tracing::info!(dir = %of.display(), "a half-made checkpoint is removed"),
                Err(OpenError::Damaged { file, reason }) => {
                    tracing::error!(file = %file.display(), %reason, "a checkpoint's manifest is damaged; the checkpoint is removed");
                }
                Err(error) => return Err(error),
            }
            checkpoints.erase(&of).map_err(|error| removing(&of, error))?;
        }
        Ok(checkpoints)
    }

    pub(crate) fn newest(&self) -> Option<Arc<Checkpoint>> {
        self.kept().last().cloned()
    }

    /// All of them, ascending.
    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<Arc<Checkpoint>> {
        self.kept().clone()
    }

    /// The one at exactly this entry.
    pub(crate) fn at(&self, id: LogId) -> Option<Arc<Checkpoint>> {
        self.kept().iter().find(|checkpoint| checkpoint.id() == id).cloned()
    }

    /// The newest one below `index`.
    pub(crate) fn newest_below(&self, index: LogIndex) -> Option<Arc<Checkpoint>> {
        self.kept().iter().rfind(|checkpoint| checkpoint.id().index < index).cloned()
    }

    /// The oldest one at or above `index`.
    pub(crate) fn oldest_from(&self, index: LogIndex) -> Option<Arc<Checkpoint>> {
        self.kept().iter().find(|checkpoint| checkpoint.id().index >= index).cloned()
    }

    /// An empty folder for the files of this node's state at `index`. What lay there half made is gone. Blocks.
    ///
    /// # Errors
    /// [`CheckpointError::Taken`] if there is one already: a complete checkpoint is never written over.
    pub(crate) fn begin(&self, index: LogIndex) -> Result<PathBuf, CheckpointError> {
        let mut making = self.making();
        if self.kept().iter().any(|kept| kept.id().index == index) {
            return Err(CheckpointError::Taken(index));
        }
        let state = self.empty_folder(&self.dir_of(index))?;
        *making = Some(index);
        Ok(state)
    }

    /// An empty folder for the files of a checkpoint that comes in. It is never the folder of one that this node makes of
    /// its own state: in that one files may be hard links to those of the living state, and a chunk that is written
    /// into such a file by its name would change the state. Blocks.
    pub(super) fn begin_incoming(&self, index: LogIndex) -> Result<PathBuf, CheckpointError> {
        let dir = self.incoming_dir_of(index);
        self.empty_folder(&dir)?;
        Ok(dir)
    }

    fn empty_folder(&self, dir: &Path) -> Result<PathBuf, CheckpointError> {
        self.erase(dir)?;
        let state = dir.join(STATE_FOLDER);
        self.env.disk.create_dir_all(&state).map_err(failed("creating", &state))?;
        Ok(state)
    }

    /// Syncs and sums the files that were written into the folder of [`begin`](Self::begin), writes the manifest and
    /// keeps the checkpoint. Blocks for as long as reading all of it takes.
    pub(crate) fn seal(&self, point: AppliedPoint) -> Result<Arc<Checkpoint>, CheckpointError> {
        let dir = self.dir_of(point.id.index);
        let manifest = Manifest { group: self.group, point, files: self.sum_files(&dir)? };
        manifest.save(&self.env, &dir).map_err(failed("writing the manifest of", &dir))?;
        *self.making() = None;
        Ok(self.keep(Checkpoint { dir, manifest }))
    }

    /// Keeps the one that came into the folder of [`begin_incoming`](Self::begin_incoming), if it reads back as `manifest`
    /// says. Blocks for as long as reading all of it takes.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if it does not; it is gone then. After [`CheckpointError::Taken`] it is still there.
    pub(super) fn seal_incoming(&self, manifest: &Manifest) -> Result<Arc<Checkpoint>, CheckpointError> {
        let index = manifest.id().index;
        let (incoming, dir) = (self.incoming_dir_of(index), self.dir_of(index));
        if self.sum_files(&incoming)? != manifest.files {
            self.erase(&incoming)?;
            let reason = "what was written does not read back".to_owned();
            return Err(CheckpointError::Damaged { path: incoming, reason });
        }
        manifest.save(&self.env, &incoming).map_err(failed("writing the manifest of", &incoming))?;
        let making = self.making();
        if *making == Some(index) {
            return Err(CheckpointError::Taken(index));
        }
        if let Some(kept) = self.at(manifest.id()) {
            self.erase(&incoming)?;
            return Ok(kept);
        }
        // What a failed attempt of this node's own left there.
        self.erase(&dir)?;
        self.env.disk.rename_dir(&incoming, &dir).map_err(failed("naming", &incoming))?;
        self.env.disk.sync_dir(&self.dir).map_err(failed("syncing", &self.dir))?;
        drop(making);
        Ok(self.keep(Checkpoint { dir, manifest: manifest.clone() }))
    }

    /// This node's own state could not be written; what is there of it goes with the next attempt.
    pub(crate) fn abandon(&self) {
        *self.making() = None;
    }

    /// Removes what has come in so far of a checkpoint that nobody sends any more. Blocks.
    pub(super) fn remove_incoming(&self, index: LogIndex) -> Result<(), CheckpointError> {
        self.erase(&self.incoming_dir_of(index))
    }

    /// Syncs and sums the files of a checkpoint's folder.
    fn sum_files(&self, dir: &Path) -> Result<Vec<StateFile>, CheckpointError> {
        let state = dir.join(STATE_FOLDER);
        let mut files = Vec::new();
        for name in self.env.disk.list(&state).map_err(failed("listing", &state))? {
            let path = state.join(&name);
            if !is_plain_name(&name) {
                return Err(CheckpointError::Damaged { path, reason: "its name is no plain one".to_owned() });
            }
            let file = self.env.disk.open(&path, OpenMode::Read).map_err(failed("opening", &path))?;
            files.push(sum(name, file.as_ref()).map_err(failed("reading", &path))?);
            file.sync_all().map_err(failed("syncing", &path))?;
        }
        self.env.disk.sync_dir(&state).map_err(failed("syncing", &state))?;
        Ok(files)
    }

    fn keep(&self, checkpoint: Checkpoint) -> Arc<Checkpoint> {
        let checkpoint = Arc::new(checkpoint);
        let mut kept = self.kept();
        let place = kept.partition_point(|other| other.id().index < checkpoint.id().index);
        kept.insert(place, checkpoint.clone());
        checkpoint
    }

    /// Removes checkpoints until `kept_max` are left: those below the purge point first, which serve nobody any more,
    /// then the one whose neighbours are closest. The one at the purge point and the newest stay (hazards 25), as does
    /// what somebody holds. Blocks.
    pub(crate) fn thin(&self, purged: Option<LogIndex>, kept_max: usize) -> Result<(), CheckpointError> {
        while let Some(victim) = self.take_victim(purged, kept_max.max(2)) {
            tracing::info!(id = %victim.id(), "a checkpoint is thinned out");
            self.erase(&victim.dir)?;
        }
        Ok(())
    }

    fn take_victim(&self, purged: Option<LogIndex>, kept_max: usize) -> Option<Arc<Checkpoint>> {
        let mut kept = self.kept();
        let indexes: Vec<LogIndex> = kept.iter().map(|checkpoint| checkpoint.id().index).collect();
        let free: Vec<bool> = kept.iter().map(|checkpoint| Arc::strong_count(checkpoint) == 1).collect();
        let at = victim(&indexes, &free, purged, kept_max)?;
        Some(kept.remove(at))
    }

    /// Removes all checkpoints above `index`: they are of a log that was lost (hazards 1). Blocks.
    pub(crate) fn remove_above(&self, index: Option<LogIndex>) -> Result<(), CheckpointError> {
        loop {
            let Some(last) = self.kept().pop_if(|last| Some(last.id().index) > index) else { return Ok(()) };
            tracing::warn!(id = %last.id(), "a checkpoint beyond the end of the log is removed");
            self.erase(&last.dir)?;
        }
    }

    /// Removes one that proved to be damaged. Blocks.
    pub(crate) fn remove(&self, id: LogId) -> Result<(), CheckpointError> {
        self.kept().retain(|kept| kept.id() != id);
        self.erase(&self.dir_of(id.index))
    }

    /// Removes a folder, its manifest first, so that a half-removed one is told from a complete one.
    fn erase(&self, dir: &Path) -> Result<(), CheckpointError> {
        let disk = &self.env.disk;
        if !disk.exists(dir).map_err(failed("looking for", dir))? {
            return Ok(());
        }
        let manifest = Manifest::path(dir);
        if disk.exists(&manifest).map_err(failed("looking for", &manifest))? {
            disk.remove(&manifest).map_err(failed("removing", &manifest))?;
            disk.sync_dir(dir).map_err(failed("syncing", dir))?;
        }
        for inner in disk.list_dirs(dir).map_err(failed("listing", dir))? {
            self.empty(&dir.join(&inner))?;
        }
        self.empty(dir)?;
        disk.sync_dir(&self.dir).map_err(failed("syncing", &self.dir))
    }

    fn empty(&self, dir: &Path) -> Result<(), CheckpointError> {
        let disk = &self.env.disk;
        for name in disk.list(dir).map_err(failed("listing", dir))? {
            let path = dir.join(name);
            disk.remove(&path).map_err(failed("removing", &path))?;
        }
        disk.sync_dir(dir).map_err(failed("syncing", dir))?;
        disk.remove_dir(dir).map_err(failed("removing", dir))
    }

    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    fn dir_of(&self, index: LogIndex) -> PathBuf {
        self.dir.join(format!("{:0NAME_DIGITS$}", index.0))
    }

    fn incoming_dir_of(&self, index: LogIndex) -> PathBuf {
        self.dir.join(format!("{:0NAME_DIGITS$}{INCOMING_END}", index.0))
    }

    fn making(&self) -> MutexGuard<'_, Option<LogIndex>> {
        self.making.lock().expect("no holder of this lock panics")
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Arc<Checkpoint>>> {
        self.kept.lock().expect("no holder of this lock panics")
    }
}

fn removing(dir: &Path, error: CheckpointError) -> OpenError {
    OpenError::Io { action: "removing", file: dir.into(), source: error.into() }
}

/// Which checkpoint goes next, by place; pure, so that every case is tested.
fn victim(indexes: &[LogIndex], free: &[bool], purged: Option<LogIndex>, kept_max: usize) -> Option<usize> {
    let below = (0..indexes.len().saturating_sub(1)).find(|at| free[*at] && Some(indexes[*at]) < purged);
    if below.is_some() {
        return below;
    }
    if indexes.len() <= kept_max {
        return None;
    }
    let inner = 1..indexes.len() - 1;
    inner.filter(|at| free[*at]).min_by_key(|at| indexes[at + 1].0 - indexes[at - 1].0)
}

fn sum(name: String, file: &dyn File) -> io::Result<StateFile> {
    let bytes = file.byte_len()?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut crcs = Vec::new();
    let mut offset = 0;
    while offset < bytes {
        let length = usize::try_from((bytes - offset).min(CHUNK_BYTES as u64)).expect("at most a chunk");
        file.read_exact_at(&mut buffer[..length], offset)?;
        crcs.push(crc32c::crc32c(&buffer[..length]));
        offset += length as u64;
    }
    Ok(StateFile { name, bytes, crcs })
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
