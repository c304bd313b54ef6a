//! The folder of all kept checkpoints: making, finding, reading, thinning.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::checkpoint::complete::Checkpoint;
use crate::checkpoint::error::{CheckpointError, failed};
use crate::checkpoint::manifest::{Manifest, STATE_FOLDER};
use crate::checkpoint::summing::{Known, Summed, Summing};
use crate::env::Env;
use crate::exec::sync;
use crate::state_machine::AppliedPoint;
use crate::storage::OpenError;
use crate::types::{GroupId, LogId, LogIndex};

/// The folder's name in the data folder.
pub(super) const FOLDER: &str = "checkpoints";
/// How the name of the folder ends into which a checkpoint comes in.
const INCOMING_END: &str = ".incoming";
/// How many digits a checkpoint's name has, so that names sort as numbers do.
const NAME_DIGITS: usize = 20;

/// All checkpoints of a data folder, ascending.
pub(crate) struct Checkpoints {
    env: Env,
    dir: PathBuf,
    group: GroupId,
    kept: Mutex<Vec<Arc<Checkpoint>>>,
    /// The index of the one that this node makes of its own state just now. Held while another one takes its name.
    making: sync::Mutex<Option<LogIndex>>,
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
        let checkpoints = Checkpoints {
            env: env.clone(),
            dir: dir.clone(),
            group,
            kept: Mutex::default(),
            making: sync::Mutex::default(),
        };
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
                    checkpoints.kept().push(Arc::new(Checkpoint::new(of, manifest, Vec::new())));
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
        self.kept().iter().rfind(|checkpoint| checkpoint.id().index < index && !checkpoint.is_damaged()).cloned()
    }

    /// The oldest one at or above `index`.
    pub(crate) fn oldest_from(&self, index: LogIndex) -> Option<Arc<Checkpoint>> {
        self.kept().iter().find(|checkpoint| checkpoint.id().index >= index).cloned()
    }

    /// An empty folder for the files of this node's state at `index`. What lay there half made is gone. Blocks.
    ///
    /// # Errors
    /// [`CheckpointError::Taken`] if there is one already, or another is being made: none is ever written over.
    pub(crate) fn begin(&self, index: LogIndex) -> Result<PathBuf, CheckpointError> {
        let mut making = self.making();
        if making.is_some() || self.kept().iter().any(|kept| kept.id().index == index) {
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

    /// Keeps the one that came into the folder of [`begin_incoming`](Self::begin_incoming), if it reads back as `manifest`
    /// says. Blocks for as long as reading all of it takes.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if it does not; it is gone then. After [`CheckpointError::Taken`] it is still there.
    pub(super) fn seal_incoming(&self, manifest: &Manifest) -> Result<Arc<Checkpoint>, CheckpointError> {
        let index = manifest.id().index;
        let (incoming, dir) = (self.incoming_dir_of(index), self.dir_of(index));
        let mut summing = Summing::begin(&self.env, &incoming, Known::new())?;
        while summing.step()?.is_some() {}
        let summed = summing.finish()?;
        if summed.files != manifest.files {
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
        Ok(self.keep(Checkpoint::new(dir, manifest.clone(), summed.identities)))
    }

    /// This node's own state could not be written; what is there of it goes with the next attempt.
    pub(crate) fn abandon(&self) {
        *self.making() = None;
    }

    /// Removes what has come in so far of a checkpoint that nobody sends any more. Blocks.
    pub(super) fn remove_incoming(&self, index: LogIndex) -> Result<(), CheckpointError> {
        self.erase(&self.incoming_dir_of(index))
    }

    /// Writes the manifest of the folder of [`begin`](Self::begin), whose files are summed, and keeps the checkpoint.
    pub(super) fn seal_summed(&self, point: AppliedPoint, summed: Summed) -> Result<Arc<Checkpoint>, CheckpointError> {
        let dir = self.dir_of(point.id.index);
        let manifest = Manifest { group: self.group, point, files: summed.files };
        manifest.save(&self.env, &dir).map_err(failed("writing the manifest of", &dir))?;
        *self.making() = None;
        Ok(self.keep(Checkpoint::new(dir, manifest, summed.identities)))
    }

    /// What is known of the files of the newest checkpoint, which the next one shares most with.
    pub(super) fn known(&self) -> Known {
        let Some(newest) = self.newest().filter(|newest| !newest.is_damaged()) else { return Known::new() };
        let crcs = newest.manifest.files.iter().map(|file| file.crcs.clone());
        newest.identities.iter().copied().zip(crcs).collect()
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

    /// The oldest sound one at or above `index`.
    pub(crate) fn sound_from(&self, index: LogIndex) -> Option<Arc<Checkpoint>> {
        self.kept().iter().find(|checkpoint| checkpoint.id().index >= index && !checkpoint.is_damaged()).cloned()
    }

    /// Removes what proved to be damaged, but for the one that stands for what is purged, which goes when the log is purged
    /// further; says whether there was any. Blocks.
    pub(crate) fn remove_damaged(&self, purged: Option<LogId>) -> Result<bool, CheckpointError> {
        let goes = |kept: &Arc<Checkpoint>| kept.is_damaged() && Some(kept.id()) != purged;
        let gone: Vec<Arc<Checkpoint>> = self.kept().extract_if(.., |kept| goes(kept)).collect();
        for damaged in &gone {
            tracing::warn!(id = %damaged.id(), "a damaged checkpoint is removed");
            self.erase(&damaged.dir)?;
        }
        Ok(!gone.is_empty())
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

    /// What is left of the disk.
    pub(super) fn free_bytes(&self) -> Result<u64, CheckpointError> {
        self.env.disk.free_bytes(&self.dir).map_err(failed("measuring the room for", &self.dir))
    }

    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    pub(super) fn dir_of(&self, index: LogIndex) -> PathBuf {
        self.dir.join(format!("{:0NAME_DIGITS$}", index.0))
    }

    fn incoming_dir_of(&self, index: LogIndex) -> PathBuf {
        self.dir.join(format!("{:0NAME_DIGITS$}{INCOMING_END}", index.0))
    }

    fn making(&self) -> sync::MutexGuard<'_, Option<LogIndex>> {
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

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
