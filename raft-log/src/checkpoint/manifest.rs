//! The manifest of a checkpoint: which state it holds, and the CRC of each chunk of each file.
//!
//! ```text
//!   body: group u32 │ applied point (AppliedPoint::encode_into)
//!         │ chunk bytes u32 │ files u32 │ each: name length u16, name, bytes u64, CRC32C u32 of each chunk
//! ```
//! A CRC for each chunk and not for each file: a receiver checks what it got before it asks for more, and goes on at a
//! chunk after a lost connection. The same bytes are the manifest on disk (in a sealed file) and the offer to a peer.

use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, BytesMut};

use crate::env::Env;
use crate::state_machine::AppliedPoint;
use crate::storage::OpenError;
use crate::storage::sealed_file::{self, SealedFormat};
use crate::types::{GroupId, LogId};

/// The manifest's name in a checkpoint's folder.
pub(super) const MANIFEST_NAME: &str = "CHECKPOINT";
/// The folder of the state's files in a checkpoint's folder.
pub(super) const STATE_FOLDER: &str = "state";
/// Files are checked and sent in pieces of this size.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// Files of one checkpoint.
const FILES_MAX: usize = 65_536;
/// Bytes of one manifest: enough for a state of about 250 GiB.
pub(crate) const MANIFEST_BYTES_MAX: usize = sealed_file::SEALED_BODY_BYTES_MAX;

pub(super) const FORMAT: SealedFormat = SealedFormat { magic: *b"TERCCKPT", version: 1 };

/// One file of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateFile {
    /// Its plain name in the state's folder.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// CRC32C of each [`CHUNK_BYTES`] of it, the last one shorter.
    pub(crate) crcs: Vec<u32>,
}

/// What a checkpoint consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) group: GroupId,
    pub(crate) point: AppliedPoint,
    pub(crate) files: Vec<StateFile>,
}

/// One piece of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Which file of the manifest.
    pub(crate) file: usize,
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    pub(crate) crc: u32,
}

impl Manifest {
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join(MANIFEST_NAME)
    }

    pub(crate) fn id(&self) -> LogId {
        self.point.id
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// All chunks, in the order in which they are sent.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = Chunk> + '_ {
        self.files.iter().enumerate().flat_map(|(at, file)| {
            let chunk = move |(number, crc): (usize, &u32)| {
                let offset = (number * CHUNK_BYTES) as u64;
                let bytes = (file.bytes - offset).min(CHUNK_BYTES as u64);
                Chunk { file: at, offset, bytes: usize::try_from(bytes).expect("at most a chunk"), crc: *crc }
            };
            file.crcs.iter().enumerate().map(chunk)
        })
    }

    /// Writes it into the checkpoint's folder, durably.
    pub(super) fn save(&self, env: &Env, dir: &Path) -> std::io::Result<()> {
        let body = self.encode();
        if body.len() > MANIFEST_BYTES_MAX {
            let reason = format!("a state of {} bytes is too large for a checkpoint", self.bytes());
            return Err(std::io::Error::other(reason));
        }
        sealed_file::write(env, &Manifest::path(dir), FORMAT, &body)
    }

    /// The manifest of a checkpoint's folder, if there is one.
    pub(super) fn load(env: &Env, dir: &Path) -> Result<Option<Manifest>, OpenError> {
        let file = Manifest::path(dir);
        let Some((_, body)) = sealed_file::read(env, &file, FORMAT)? else { return Ok(None) };
        Manifest::decode(&body).map(Some).map_err(|reason| OpenError::Damaged { file, reason })
    }

    /// What is wrong with one of its copies, if anything is.
    pub(super) fn fault(env: &Env, dir: &Path) -> Result<Option<String>, OpenError> {
        sealed_file::fault(env, &Manifest::path(dir), FORMAT)
    }

    pub(crate) fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(256);
        out.put_u32_le(self.group.0);
        self.point.encode_into(&mut out);
        out.put_u32_le(CHUNK_BYTES as u32);
        out.put_u32_le(u32::try_from(self.files.len()).expect("files are limited"));
        for file in &self.files {
            out.put_u16_le(u16::try_from(file.name.len()).expect("names of files are short"));
            out.put_slice(file.name.as_bytes());
            out.put_u64_le(file.bytes);
            file.crcs.iter().for_each(|crc| out.put_u32_le(*crc));
        }
        out
    }

    /// # Errors
    /// What does not fit; a peer's manifest is believed only after this.
    pub(crate) fn decode(body: &[u8]) -> Result<Manifest, String> {
        let mut input = body;
        let manifest = decode_fields(&mut input).map_err(|error| error.to_string())?;
        match input.len() {
            0 => Ok(manifest),
            left => Err(format!("{left} bytes behind its end")),
        }
    }
}

fn take_bytes<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    input.split_off(..length).ok_or_else(|| "it is cut".to_owned())
}

fn decode_fields(input: &mut &[u8]) -> Result<Manifest, Box<dyn std::error::Error>> {
    let group = GroupId(input.try_get_u32_le()?);
    let point = AppliedPoint::decode_from(input).ok_or("it is cut")?;
    let chunk_bytes = input.try_get_u32_le()?;
    if chunk_bytes as usize != CHUNK_BYTES {
        return Err(format!("its chunks have {chunk_bytes} bytes, this build knows {CHUNK_BYTES}").into());
    }
    let count = usize::try_from(input.try_get_u32_le()?)?;
    if count > FILES_MAX {
        return Err(format!("{count} files are above the limit of {FILES_MAX}").into());
    }
    let mut files: Vec<StateFile> = Vec::new();
    for _ in 0..count {
        let file = take_file(input)?;
        if files.iter().any(|known| known.name == file.name) {
            return Err(format!("it lists {} twice", file.name).into());
        }
        files.push(file);
    }
    Ok(Manifest { group, point, files })
}

fn take_file(input: &mut &[u8]) -> Result<StateFile, Box<dyn std::error::Error>> {
    let length = usize::from(input.try_get_u16_le()?);
    let name = std::str::from_utf8(take_bytes(input, length)?)?.to_owned();
    if !is_plain_name(&name) {
        return Err(format!("{name:?} is no plain name of a file").into());
    }
    let bytes = input.try_get_u64_le()?;
    let chunks = usize::try_from(bytes.div_ceil(CHUNK_BYTES as u64))?;
    let crcs = take_bytes(input, chunks.checked_mul(4).ok_or("it is cut")?)?;
    let (crcs, _) = crcs.as_chunks::<4>();
    Ok(StateFile { name, bytes, crcs: crcs.iter().map(|crc| u32::from_le_bytes(*crc)).collect() })
}

/// Whether a name stays inside the folder: manifests also come from peers.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LogIndex, Term};
    use bytes::Bytes;

    fn manifest() -> Manifest {
        let id = LogId { term: Term(3), index: LogIndex(70) };
        let file = |name: &str, bytes: u64| StateFile {
            name: name.into(),
            bytes,
            crcs: (0..bytes.div_ceil(CHUNK_BYTES as u64) as u32).collect(),
        };
        Manifest {
            group: GroupId(7),
            point: AppliedPoint { id, membership: Some((id, Bytes::from_static(b"members"))) },
            files: vec![file("000007.sst", 2 * CHUNK_BYTES as u64 + 5), file("CURRENT", 16), file("empty", 0)],
        }
    }

    #[test]
    fn a_manifest_comes_back_as_it_was_encoded_and_no_cut_passes() {
        for membership in [manifest().point.membership, None] {
            let mut manifest = manifest();
            manifest.point.membership = membership;
            let body = manifest.encode();
            assert_eq!(Manifest::decode(&body), Ok(manifest));
            for cut in 0..body.len() {
                assert!(Manifest::decode(&body[..cut]).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn chunks_cover_every_byte_once() {
        let manifest = manifest();
        let chunks: Vec<Chunk> = manifest.chunks().collect();
        assert_eq!(chunks.iter().map(|chunk| chunk.bytes as u64).sum::<u64>(), manifest.bytes());
        assert_eq!(chunks.iter().map(|chunk| chunk.file).collect::<Vec<_>>(), [0, 0, 0, 1]);
        assert_eq!((chunks[2].offset, chunks[2].bytes), (2 * CHUNK_BYTES as u64, 5));
    }

    // A peer's manifest must not write outside the checkpoint's folder.
    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in ["../up", "/etc/passwd", "..", "", "a/b"] {
            let mut manifest = manifest();
            manifest.files[1].name = name.into();
            assert!(Manifest::decode(&manifest.encode()).is_err(), "{name}");
        }
        let mut twice = manifest();
        twice.files[1] = twice.files[0].clone();
        assert!(Manifest::decode(&twice.encode()).is_err());
    }
}
