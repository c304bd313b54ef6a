//! A checkpoint on its way in: chunk after chunk, checked, into a folder of its own, which gets the checkpoint's name only
//! once it is complete.
//!
//! It outlives the connection that brings it: after a lost one, the sender is told at which chunk to go on. It does not
//! outlive the process, because what has not come in whole goes at the next opening.

use std::path::PathBuf;
use std::sync::Arc;

use crate::checkpoint::complete::Checkpoint;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::folder::Checkpoints;
use crate::checkpoint::manifest::{Chunk, Manifest, STATE_FOLDER};
use crate::env::OpenMode;
use crate::storage::RESERVE_BYTES_DEFAULT;

/// Why a chunk was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IncomingError {
    #[error("chunk {found} came where {expected} was expected")]
    OutOfOrder { expected: u64, found: u64 },
    #[error("chunk {0} does not match the CRC that its manifest states")]
    Corrupt(u64),
    /// The log's reserve on the disk is not for checkpoints; it comes again when there is room.
    #[error("the disk has {free} bytes left, and {wanted} are to come with {RESERVE_BYTES_DEFAULT} to spare")]
    NoRoom { free: u64, wanted: u64 },
    #[error(transparent)]
    Disk(#[from] CheckpointError),
}

/// What is known of it so far. All calls block on the disk.
pub(crate) struct Incoming {
    checkpoints: Arc<Checkpoints>,
    manifest: Manifest,
    dir: PathBuf,
    chunks: Vec<Chunk>,
    next: u64,
}

impl Incoming {
    /// Makes an empty folder for it, if the disk has room for all of it.
    pub(crate) fn begin(checkpoints: Arc<Checkpoints>, manifest: Manifest) -> Result<Incoming, IncomingError> {
        has_room(&checkpoints, manifest.bytes())?;
        let dir = checkpoints.begin_incoming(manifest.id().index)?;
        let disk = &checkpoints.env().disk;
        for file in &manifest.files {
            let path = dir.join(STATE_FOLDER).join(&file.name);
            let made = disk.open(&path, OpenMode::CreateNew);
            made.map_err(|source| CheckpointError::Io { action: "creating", path, source })?;
        }
        let chunks = manifest.chunks().collect();
        Ok(Incoming { checkpoints, manifest, dir, chunks, next: 0 })
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The number of the chunk that is wanted next; the count of chunks when all are there.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.next == self.chunks.len() as u64
    }

    /// Takes a chunk in if it is the next and matches the manifest; else nothing changes.
    pub(crate) fn take(&mut self, number: u64, bytes: &[u8]) -> Result<(), IncomingError> {
        if number != self.next || self.is_complete() {
            return Err(IncomingError::OutOfOrder { expected: self.next, found: number });
        }
        let chunk = self.chunks[usize::try_from(number).expect("below the count")];
        if bytes.len() != chunk.bytes || crc32c::crc32c(bytes) != chunk.crc {
            return Err(IncomingError::Corrupt(number));
        }
        has_room(&self.checkpoints, bytes.len() as u64)?;
        let path = self.dir.join(STATE_FOLDER).join(&self.manifest.files[chunk.file].name);
        let failed = |source| CheckpointError::Io { action: "writing", path: path.clone(), source };
        let file = self.checkpoints.env().disk.open(&path, OpenMode::ReadWrite).map_err(failed)?;
        file.write_all_at(bytes, chunk.offset).map_err(failed)?;
        // Synced chunk by chunk: what is written at the end in one go would hold up the log's own syncs.
        file.sync_data().map_err(failed)?;
        self.next += 1;
        Ok(())
    }

    /// Reads everything back from the disk, checks it, and keeps the checkpoint.
    ///
    /// # Errors
    /// Where it may help to try again, it is given back.
    pub(crate) fn finish(self) -> Result<Arc<Checkpoint>, (Option<Box<Incoming>>, IncomingError)> {
        assert!(self.is_complete(), "every chunk is there");
        self.checkpoints.seal_incoming(&self.manifest).map_err(|error| match error {
            CheckpointError::Damaged { .. } => (None, error.into()),
            CheckpointError::Io { .. } | CheckpointError::Taken(_) => (Some(Box::new(self)), error.into()),
        })
    }

    /// Removes what is there: nobody sends the rest.
    pub(crate) fn discard(self) {
        if let Err(error) = self.checkpoints.remove_incoming(self.manifest.id().index) {
            tracing::warn!(%error, "what came in of a checkpoint stays until the next start");
        }
    }
}

/// Whether so many bytes leave the log its reserve (hazards 9).
fn has_room(checkpoints: &Checkpoints, wanted: u64) -> Result<(), IncomingError> {
    let free = checkpoints.free_bytes()?;
    if free < wanted.saturating_add(RESERVE_BYTES_DEFAULT) {
        Err(IncomingError::NoRoom { free, wanted })
    } else {
        Ok(())
    }
}

#[cfg(test)]
#[path = "incoming_tests.rs"]
mod tests;
