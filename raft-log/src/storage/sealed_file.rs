//! Small files that are replaced as a whole: after a crash the old or the new content is there, never a mixture.
//!
//! ```text
//!   │ prefix 16 (magic, version, CRC) │ body length u32 │ body │ CRC32C of all before │
//! ```
//! [`write()`] makes `<file>.tmp`, syncs it, renames it over the file and syncs the directory (hazards 5).

use super::error::OpenError;
use super::format::prefix::{self, PREFIX_BYTES};
use crate::env::{Env, OpenMode};
use std::io;
use std::path::{Path, PathBuf};

/// Largest body of a sealed file.
pub const SEALED_BODY_BYTES_MAX: usize = 1 << 20;

const BODY_START: usize = PREFIX_BYTES + 4;
const CRC_BYTES: usize = 4;

/// What kind of sealed file one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedFormat {
    /// The first eight bytes of the file.
    pub magic: [u8; 8],
    /// The version that is written, and the highest that is read.
    pub version: u32,
}

/// Replaces the content of `path`, durably. A `.tmp` that an earlier crash left is overwritten.
pub fn write(env: &Env, path: &Path, format: SealedFormat, body: &[u8]) -> io::Result<()> {
    write_within(env, path, format, body, SEALED_BODY_BYTES_MAX)
}

/// [`write()`] with another limit.
pub(super) fn write_within(
    env: &Env,
    path: &Path,
    format: SealedFormat,
    body: &[u8],
    body_bytes_max: usize,
) -> io::Result<()> {
    assert!(body.len() <= body_bytes_max, "a sealed file is small, not {} bytes", body.len());
    let length = u32::try_from(body.len()).expect("below the limit");
    let mut bytes = Vec::with_capacity(BODY_START + body.len() + CRC_BYTES);
    bytes.extend_from_slice(&prefix::encode(format.magic, format.version));
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(body);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());

    replace(env, path, &bytes)
}

/// Puts a file with these bytes in the place of `path`: temporary file, sync, rename, sync of the directory.
pub(super) fn replace(env: &Env, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_of(path);
    let file = env.disk.open(&temporary, OpenMode::CreateOrTruncate)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    env.disk.rename(&temporary, path)?;
    env.disk.sync_dir(path.parent().expect("a sealed file lies in a folder"))
}

/// The body and version of `path`, or `None` if there is no such file.
pub fn read(env: &Env, path: &Path, format: SealedFormat) -> Result<Option<(u32, Vec<u8>)>, OpenError> {
    read_within(env, path, format, SEALED_BODY_BYTES_MAX)
}

/// [`read()`] with another limit.
pub(super) fn read_within(
    env: &Env,
    path: &Path,
    format: SealedFormat,
    body_bytes_max: usize,
) -> Result<Option<(u32, Vec<u8>)>, OpenError> {
    let io_error = |action| move |source| OpenError::Io { action, file: path.into(), source };
    if !env.disk.exists(path).map_err(io_error("looking for"))? {
        return Ok(None);
    }
    let file = env.disk.open(path, OpenMode::Read).map_err(io_error("opening"))?;
    let length = file.byte_len().map_err(io_error("measuring"))?;
    let length_max = BODY_START + body_bytes_max + CRC_BYTES;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(length_max)];
    file.read_exact_at(&mut bytes, 0).map_err(io_error("reading"))?;

    let version =
        prefix::decode(&bytes, format.magic, format.version).map_err(|error| error.of_file(path, format.version))?;
    let body = body_of(&bytes, length).map_err(|reason| OpenError::Damaged { file: path.into(), reason })?;
    Ok(Some((version, body.to_vec())))
}

fn body_of(bytes: &[u8], file_length: u64) -> Result<&[u8], String> {
    let stated = bytes.get(PREFIX_BYTES..BODY_START).ok_or("it ends inside its header")?;
    let stated = u32::from_le_bytes(stated.try_into().expect("four bytes"));
    let expected = BODY_START as u64 + u64::from(stated) + CRC_BYTES as u64;
    if file_length != expected || bytes.len() as u64 != expected {
        return Err(format!("it is {file_length} bytes long and states {expected}"));
    }
    let (content, crc) = bytes.split_at(bytes.len() - CRC_BYTES);
    if crc32c::crc32c(content).to_le_bytes() != crc {
        return Err("its CRC does not match".into());
    }
    Ok(&content[BODY_START..])
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().expect("a sealed file has a name").to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}
