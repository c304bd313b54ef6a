//! The manifest: which segments the log consists of, where Raft's log begins, and a truncation that is under way.
//!
//! ```text
//!   body: 0 group u32 │ 4 flags u32 (1 purged, 2 truncating) │ 8 purged term u64 │ 16 purged index u64 │
//!        24 first removed index u64 │ 32 segments u32 │ 36 reserved u32 │ 40 for each segment: base index u64, salt u64,
//!        base offset u64, created u64, flags u64 (1 recycled, 2 the fields before are known)
//! ```
//! Version 2 listed base indexes and salts, version 1 base indexes alone.
//!
//! What is listed is what a segment's header says. The two copies of that lie in one block, so a sector that cannot be read
//! takes both, and the header is written anew from the list (hazards 36).
//!
//! It is a sealed file (replaced as a whole). The salts bind it to the files: a segment whose header carries another one is
//! not the one that was listed, whatever its records look like. A segment is listed before a record in it is acknowledged, and taken from
//! the list before its file is removed; so a listed file that is not there was lost. Purged entries need no segment: a log
//! that begins anew behind an installed checkpoint has none at first (hazards 25), and released ones are gone. *First removed* is the intent of a
//! truncation: it is written first, and cleared when no header of a removed entry is left on disk.

use super::error::OpenError;
use super::format::{Salt, u64_at};
use super::sealed_file::{self, SealedFormat};
use crate::env::Env;
use crate::types::{GroupId, LogId, LogIndex, Term, UnixMillis};
use std::io;
use std::path::{Path, PathBuf};

/// The manifest's name in the data folder.
pub(crate) const MANIFEST_NAME: &str = "manifest";

const FORMAT: SealedFormat = SealedFormat { magic: *b"TERCMANI", version: 3 };
const LIST_START: usize = 40;
/// Bytes of a listed segment, by version.
const LISTED_BYTES: [usize; 4] = [0, 8, 16, 40];
const LISTED_RECYCLED: u64 = 1;
const LISTED_MADE: u64 = 2;
const FLAG_PURGED: u32 = 1;
const FLAG_TRUNCATING: u32 = 2;

/// The manifest's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The last entry that Raft no longer sees.
    pub(crate) purged: Option<LogId>,
    /// A truncation under way: the first entry that it removes.
    pub(crate) truncating: Option<LogIndex>,
    /// The segments, ascending.
    pub(crate) segments: Vec<Listed>,
}

/// A segment of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) base: LogIndex,
    /// Not known from a manifest of version 1.
    pub(crate) salt: Option<Salt>,
    /// Not known from a manifest of versions 1 and 2.
    pub(crate) made: Option<Made>,
}

/// What a segment's header says beside who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) base_offset: u64,
    pub(crate) created: Option<UnixMillis>,
    pub(crate) recycled: bool,
}

impl Manifest {
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join(MANIFEST_NAME)
    }

    /// The first entry on disk, or the one that will be.
    pub(crate) fn start(&self) -> LogIndex {
        let behind_purged = self.purged.map(|purged| purged.index.next());
        self.segments.first().map(|listed| listed.base).or(self.truncating).or(behind_purged).unwrap_or(LogIndex(0))
    }

    /// Replaces the manifest of `dir`, durably.
    pub(crate) fn save(&self, env: &Env, dir: &Path, group: GroupId) -> io::Result<()> {
        sealed_file::write(env, &Manifest::path(dir), FORMAT, &self.encode(group))
    }

    /// The manifest of `dir`, if there is one.
    pub(crate) fn load(env: &Env, dir: &Path, group: GroupId) -> Result<Option<Manifest>, OpenError> {
        let file = Manifest::path(dir);
        match Manifest::read(env, dir)? {
            Some((found, _)) if found != group => Err(OpenError::OtherGroup { file, found, expected: group }),
            read => Ok(read.map(|(_, manifest)| manifest)),
        }
    }

    /// What is wrong with one of the manifest's copies, if anything is.
    pub(crate) fn fault(env: &Env, dir: &Path) -> Result<Option<String>, OpenError> {
        sealed_file::fault(env, &Manifest::path(dir), FORMAT)
    }

    /// The manifest of `dir`, if there is one, and the group that it belongs to.
    pub(crate) fn read(env: &Env, dir: &Path) -> Result<Option<(GroupId, Manifest)>, OpenError> {
        let file = Manifest::path(dir);
        let Some((version, body)) = sealed_file::read(env, &file, FORMAT)? else { return Ok(None) };
        match Manifest::decode(version, &body) {
            Some(read) => Ok(Some(read)),
            None => Err(OpenError::Damaged { file, reason: "its content does not make sense".into() }),
        }
    }

    fn encode(&self, group: GroupId) -> Vec<u8> {
        assert!(self.segments.is_sorted_by_key(|listed| listed.base), "segments are listed in order");
        let purged_flag = if self.purged.is_some() { FLAG_PURGED } else { 0 };
        let truncating_flag = if self.truncating.is_some() { FLAG_TRUNCATING } else { 0 };
        let purged = self.purged.unwrap_or_default();
        let count = u32::try_from(self.segments.len()).expect("far fewer than 2^32 segments");

        let mut body = Vec::with_capacity(LIST_START + self.segments.len() * LISTED_BYTES[3]);
        body.extend_from_slice(&group.0.to_le_bytes());
        body.extend_from_slice(&(purged_flag | truncating_flag).to_le_bytes());
        body.extend_from_slice(&purged.term.0.to_le_bytes());
        body.extend_from_slice(&purged.index.0.to_le_bytes());
        body.extend_from_slice(&self.truncating.unwrap_or_default().0.to_le_bytes());
        body.extend_from_slice(&count.to_le_bytes());
        body.extend_from_slice(&[0; 4]);
        for listed in &self.segments {
            body.extend_from_slice(&listed.base.0.to_le_bytes());
            body.extend_from_slice(&listed.salt.map_or(0, |salt| salt.0).to_le_bytes());
            let made = listed.made;
            let recycled = if made.is_some_and(|made| made.recycled) { LISTED_RECYCLED } else { 0 };
            let known = if made.is_some() { LISTED_MADE } else { 0 };
            let created = made.and_then(|made| made.created).unwrap_or_default();
            for number in [made.map_or(0, |made| made.base_offset), created.0, recycled | known] {
                body.extend_from_slice(&number.to_le_bytes());
            }
        }
        body
    }

    fn decode(version: u32, body: &[u8]) -> Option<(GroupId, Manifest)> {
        let word = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
        let flags = word(4)?;
        let purged = LogId { term: Term(long(8)?), index: LogIndex(long(16)?) };
        let truncating = LogIndex(long(24)?);
        let list = body.get(LIST_START..)?;
        let count = usize::try_from(word(32)?).ok()?;
        let listed_bytes = *LISTED_BYTES.get(usize::try_from(version).ok()?)?;
        if count.checked_mul(listed_bytes)? != list.len() || flags & !(FLAG_PURGED | FLAG_TRUNCATING) != 0 {
            return None;
        }
        let listed = |bytes: &[u8]| Listed {
            base: LogIndex(u64_at(bytes, 0)),
            salt: (version > 1).then(|| Salt(u64_at(bytes, 8))).filter(|salt| salt.0 != 0),
            made: (version > 2 && u64_at(bytes, 32) & LISTED_MADE != 0).then(|| Made {
                base_offset: u64_at(bytes, 16),
                created: Some(UnixMillis(u64_at(bytes, 24))).filter(|created| created.0 > 0),
                recycled: u64_at(bytes, 32) & LISTED_RECYCLED != 0,
            }),
        };
        let segments: Vec<Listed> = list.chunks_exact(listed_bytes).map(listed).collect();
        let manifest = Manifest {
            purged: (flags & FLAG_PURGED != 0).then_some(purged),
            truncating: (flags & FLAG_TRUNCATING != 0).then_some(truncating),
            segments,
        };
        manifest.segments.is_sorted_by(|a, b| a.base < b.base).then_some((GroupId(word(0)?), manifest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_as_it_was_encoded() {
        let full = Manifest {
            purged: Some(LogId { term: Term(2), index: LogIndex(9) }),
            truncating: Some(LogIndex(30)),
            segments: vec![
                Listed { base: LogIndex(0), salt: None, made: None },
                Listed {
                    base: LogIndex(17),
                    salt: Some(Salt(7)),
                    made: Some(Made { base_offset: 900, created: Some(UnixMillis(5)), recycled: true }),
                },
                Listed {
                    base: LogIndex(18),
                    salt: Some(Salt(8)),
                    made: Some(Made { base_offset: 0, created: None, recycled: false }),
                },
            ],
        };
        for manifest in [Manifest::default(), full] {
            assert_eq!(Manifest::decode(3, &manifest.encode(GroupId(4))), Some((GroupId(4), manifest)));
        }
        assert_eq!(Manifest::decode(3, &[0; 39]), None);
    }
}
