//! Small files that are replaced as a whole: after a crash the old or the new content is there, never a mixture.
//!
//! ```text
//!   copy: │ prefix 16 (magic, version, CRC) │ body length u32 │ body │ zeroes │ CRC32C of all before │
//!   file: │ copy │ the same copy again │
//! ```
//! The second copy serves when the first is damaged; the next [`write()`] mends the file. The zeroes make a copy fill whole
//! blocks, so that a sector that cannot be read takes one copy and not both. A file with one copy is read too: those that
//! only repeat what other files say have no second one, and no zeroes; neither had the two copies of earlier versions.
//!
//! [`write()`] makes `<file>.tmp`, syncs it, renames it over the file and syncs the directory (hazards 5).

use super::error::OpenError;
use super::format::prefix::{self, PREFIX_BYTES, PrefixError};
use super::media::read_around;
use crate::env::{Env, OpenMode};
use crate::planted::{self, Bug};
use std::io;
use std::path::{Path, PathBuf};

/// Largest body of a sealed file.
pub const SEALED_BODY_BYTES_MAX: usize = 1 << 20;

const BODY_START: usize = PREFIX_BYTES + 4;
const CRC_BYTES: usize = 4;
const BLOCK: usize = 4_096;
const _: () = assert!(BLOCK as u64 == crate::env::BLOCK_BYTES, "what a device loses at once");

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
    assert!(body.len() <= SEALED_BODY_BYTES_MAX, "a sealed file is small, not {} bytes", body.len());
    let whole_blocks = copy_bytes(body.len()).next_multiple_of(BLOCK);
    let copy = encode(format, body, whole_blocks);
    replace(env, path, &[&copy[..], &copy[..]].concat())
}

/// [`write()`] with another limit, a single copy and a name that is not synced, for what can be made anew.
pub(super) fn put_within(
    env: &Env,
    path: &Path,
    format: SealedFormat,
    body: &[u8],
    body_bytes_max: usize,
) -> io::Result<()> {
    assert!(body.len() <= body_bytes_max, "a sealed file is small, not {} bytes", body.len());
    put(env, path, &encode(format, body, copy_bytes(body.len())))
}

/// Bytes of a copy without zeroes.
fn copy_bytes(body_bytes: usize) -> usize {
    BODY_START + body_bytes + CRC_BYTES
}

fn encode(format: SealedFormat, body: &[u8], copy_bytes: usize) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("below the limit");
    let mut bytes = Vec::with_capacity(copy_bytes);
    bytes.extend_from_slice(&prefix::encode(format.magic, format.version));
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes.resize(copy_bytes - CRC_BYTES, 0);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// Puts a file with these bytes in the place of `path`: temporary file, sync, rename, sync of the directory.
pub(super) fn replace(env: &Env, path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(env, path, bytes)?;
    if planted::is(Bug::UnsyncedNames) {
        return Ok(());
    }
    env.disk.sync_dir(path.parent().expect("a sealed file lies in a folder"))
}

/// [`replace`] without the last step: after a power loss the old or the new content is there.
fn put(env: &Env, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_of(path);
    let file = env.disk.open(&temporary, OpenMode::CreateOrTruncate)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    env.disk.rename(&temporary, path)
}

/// The body and version of `path`, or `None` if there is no such file.
pub fn read(env: &Env, path: &Path, format: SealedFormat) -> Result<Option<(u32, Vec<u8>)>, OpenError> {
    Ok(read_copies(env, path, format, SEALED_BODY_BYTES_MAX)?.map(|read| (read.version, read.body)))
}

/// [`read()`] with another limit.
pub(super) fn read_within(
    env: &Env,
    path: &Path,
    format: SealedFormat,
    body_bytes_max: usize,
) -> Result<Option<(u32, Vec<u8>)>, OpenError> {
    Ok(read_copies(env, path, format, body_bytes_max)?.map(|read| (read.version, read.body)))
}

/// What is wrong with a file that can still be read, if anything is.
pub(crate) fn fault(env: &Env, path: &Path, format: SealedFormat) -> Result<Option<String>, OpenError> {
    Ok(read_copies(env, path, format, SEALED_BODY_BYTES_MAX)?.and_then(|read| read.fault))
}

/// A file that was read.
struct Copies {
    version: u32,
    body: Vec<u8>,
    /// Why one of its copies is not whole.
    fault: Option<String>,
}

fn read_copies(
    env: &Env,
    path: &Path,
    format: SealedFormat,
    body_bytes_max: usize,
) -> Result<Option<Copies>, OpenError> {
    let io_error = |action| move |source| OpenError::Io { action, file: path.into(), source };
    if !env.disk.exists(path).map_err(io_error("looking for"))? {
        return Ok(None);
    }
    let file = env.disk.open(path, OpenMode::Read).map_err(io_error("opening"))?;
    let length = file.byte_len().map_err(io_error("measuring"))?;
    let length_max = 2 * copy_bytes(body_bytes_max).next_multiple_of(BLOCK);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(length_max)];
    read_around(file.as_ref(), &mut bytes, 0).map_err(io_error("reading"))?;
    choose(&bytes, format).map(Some).map_err(|error| error.of_file(path, format.version))
}

/// The first whole copy of one or two.
fn choose(bytes: &[u8], format: SealedFormat) -> Result<Copies, PrefixError> {
    let first = copy_of(bytes, format);
    let place = first.as_ref().map_or(bytes.len() / 2, |first| first.length);
    let second = copy_of(&bytes[place..], format);
    let (read, fault) = match (first, second) {
        (Ok(first), _) if first.length == bytes.len() => (first, None),
        (Ok(first), Ok(second)) if first == second && 2 * first.length == bytes.len() => (first, None),
        (Ok(_), Ok(_)) => return Err(PrefixError::Damaged("its two copies contradict each other".into())),
        (Ok(read), Err(error)) => (read, Some(format!("its second copy is damaged: {error}"))),
        (Err(error @ PrefixError::Damaged(_)), Ok(read)) if place + read.length == bytes.len() => {
            (read, Some(format!("its first copy is damaged: {error}")))
        }
        // The damage hides what the other copy says: that this program cannot tell what is there.
        (Err(PrefixError::Damaged(_)), Err(newer @ PrefixError::Newer { .. })) => return Err(newer),
        (Err(error), _) => return Err(error),
    };
    Ok(Copies { version: read.version, body: read.body.to_vec(), fault })
}

/// One whole copy.
#[derive(PartialEq, Eq)]
struct Copy<'a> {
    version: u32,
    body: &'a [u8],
    length: usize,
}

/// The copy that `bytes` begin with.
fn copy_of(bytes: &[u8], format: SealedFormat) -> Result<Copy<'_>, PrefixError> {
    let version = prefix::decode(bytes, format.magic, format.version)?;
    let (body, length) = body_of(bytes).map_err(PrefixError::Damaged)?;
    Ok(Copy { version, body, length })
}

/// The body, and the length of its copy: with zeroes up to whole blocks, or without.
fn body_of(bytes: &[u8]) -> Result<(&[u8], usize), String> {
    let stated = bytes.get(PREFIX_BYTES..BODY_START).ok_or("it ends inside its header")?;
    let stated = u32::from_le_bytes(stated.try_into().expect("four bytes")) as usize;
    let length = copy_bytes(stated);
    if bytes.len() < length {
        return Err(format!("it states {stated} bytes of content and has {}", bytes.len()));
    }
    let verifies = |length: &usize| {
        let copy = bytes.get(..*length).and_then(|copy| copy.split_last_chunk::<CRC_BYTES>());
        copy.is_some_and(|(content, crc)| crc32c::crc32c(content).to_le_bytes() == *crc)
    };
    let length = [length.next_multiple_of(BLOCK), length].into_iter().find(verifies);
    let length = length.ok_or("its CRC does not match")?;
    Ok((&bytes[BODY_START..BODY_START + stated], length))
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().expect("a sealed file has a name").to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}
