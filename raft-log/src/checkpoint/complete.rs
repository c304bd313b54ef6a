//! One complete checkpoint: what is in it, and reading it with a check of every byte.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::checkpoint::error::{CheckpointError, failed};
use crate::checkpoint::manifest::{Chunk, Manifest, STATE_FOLDER};
use crate::env::{Env, FileIdentity, OpenMode, is_media_error};
use crate::types::LogId;

/// One complete checkpoint. While somebody holds it, it is not removed.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(super) dir: PathBuf,
    pub(crate) manifest: Manifest,
    /// What its files were when this process summed them; empty if an earlier one did.
    pub(super) identities: Vec<FileIdentity>,
    /// Something of it proved to be damaged.
    pub(super) damaged: AtomicBool,
}

impl Checkpoint {
    pub(super) fn new(dir: PathBuf, manifest: Manifest, identities: Vec<FileIdentity>) -> Checkpoint {
        Checkpoint { dir, manifest, identities, damaged: AtomicBool::new(false) }
    }

    /// Whether it proved to be damaged. It stays so: the bytes are read again and are no better.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    pub(crate) fn id(&self) -> LogId {
        self.manifest.id()
    }

    /// The folder of the state's files.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join(STATE_FOLDER)
    }

    /// Reads one chunk and checks it; a damaged one is remembered. Blocks.
    pub(crate) fn read(&self, env: &Env, chunk: Chunk) -> Result<Bytes, CheckpointError> {
        let read = self.read_chunk(env, chunk);
        if let Err(error @ CheckpointError::Damaged { .. }) = &read
            && !self.damaged.swap(true, Ordering::Relaxed)
        {
            tracing::error!(id = %self.id(), %error, "a checkpoint is damaged; another one takes its place");
        }
        read
    }

    fn read_chunk(&self, env: &Env, chunk: Chunk) -> Result<Bytes, CheckpointError> {
        let path = self.state().join(&self.manifest.files[chunk.file].name);
        let damaged = |reason: String| {
            let reason = format!("the chunk at {}: {reason}", chunk.offset);
            CheckpointError::Damaged { path: path.clone(), reason }
        };
        let file = match env.disk.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged("the file is gone".to_owned()));
            }
            opened => opened.map_err(failed("opening", &path))?,
        };
        let mut bytes = vec![0; chunk.bytes];
        match file.read_exact_at(&mut bytes, chunk.offset) {
            Err(error) if is_media_error(&error) || error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(damaged(format!("it cannot be read: {error}")));
            }
            read => read.map_err(failed("reading", &path))?,
        }
        if crc32c::crc32c(&bytes) != chunk.crc {
            return Err(damaged("it has another CRC".to_owned()));
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
