//! The index sidecar of a segment: what a scan of it would find, so that opening the log need not read every record.
//!
//! ```text
//!   <base>.idx, a sealed file:
//!    0 group u32 │ 4 reserved u32 │ 8 base u64 │ 16 salt u64 │ 24 end u64 │ 32 end offset u64 │
//!   40 runs u32 │ 44 positions u32 │ runs: (term u64, first index u64) │ positions: (index - base u32, offset u32)
//! ```
//! It speaks of the entries from *base* up to *end*, all of which were durable when it was written; so it is a durable
//! mark too (hazards 3). That of a sealed segment covers all of it, which shows in its end being the next one's base. That
//! of the active segment is written now and then and covers its beginning.
//!
//! It is a copy: one that is missing, damaged or of another file (told by the salt) costs a scan, nothing else. A
//! truncation removes it before it removes the entries.

use super::catalog::Placed;
use super::error::OpenError;
use super::format::{RECORD_ALIGN_BYTES, SEGMENT_HEADER_BYTES, Salt, u32_at, u64_at};
use super::positions::{Position, Positions};
use super::sealed_file::{self, SealedFormat};
use super::segment::Segment;
use super::terms::Terms;
use crate::env::Env;
use crate::types::{GroupId, LogId, LogIndex, Term};
use std::io;
use std::path::{Path, PathBuf};

const FORMAT: SealedFormat = SealedFormat { magic: *b"TERCINDX", version: 1 };
/// Enough for a segment of 4 GiB and thousands of elections in it.
const BODY_BYTES_MAX: usize = 4 << 20;
const SIDECAR_EXTENSION: &str = "idx";
const RUNS_START: usize = 48;
const RUN_BYTES: usize = 16;
const POSITION_BYTES: usize = 8;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sidecar {
    pub(crate) base: LogIndex,
    pub(crate) salt: Salt,
    pub(crate) end: LogIndex,
    pub(crate) end_offset: u64,
    /// The first entry of each term in the segment; the first one is the segment's.
    pub(crate) runs: Vec<LogId>,
    pub(crate) positions: Positions,
}

impl Sidecar {
    /// Of what is known of a segment, whose written entries are all durable; `None` without any.
    pub(crate) fn of(placed: &Placed, terms: &Terms) -> Option<Sidecar> {
        let Placed { segment, positions, end, end_offset } = placed;
        (*end > segment.base).then(|| Sidecar {
            base: segment.base,
            salt: segment.salt,
            end: *end,
            end_offset: *end_offset,
            runs: terms.runs_between(segment.base, *end),
            positions: positions.clone(),
        })
    }

    /// Where the sidecar of the segment with this base lies.
    pub(crate) fn path(folder: &Path, base: LogIndex) -> PathBuf {
        folder.join(Segment::name(base)).with_extension(SIDECAR_EXTENSION)
    }

    /// The base of the segment that a file of this name would belong to; `None` if it is no sidecar's name.
    pub(crate) fn base_of_name(name: &str) -> Option<LogIndex> {
        let path = Path::new(name);
        let is_sidecar = path.extension().is_some_and(|extension| extension == SIDECAR_EXTENSION);
        Segment::base_of_name(path.with_extension("seg").to_str().filter(|_| is_sidecar)?)
    }

    /// Writes it; its name is durable once the folder is synced. One that would be too large is not written.
    pub(crate) fn save(&self, env: &Env, folder: &Path, group: GroupId) -> io::Result<()> {
        let body = self.encode(group);
        if body.len() > BODY_BYTES_MAX {
            return Ok(());
        }
        sealed_file::put_within(env, &Sidecar::path(folder, self.base), FORMAT, &body, BODY_BYTES_MAX)
    }

    /// It could not be saved: nothing but time is lost.
    pub(crate) fn warn_unsaved(&self, folder: &Path, error: &io::Error) {
        let file = Sidecar::path(folder, self.base);
        tracing::warn!(file = %file.display(), %error, "the index of a segment is not saved; the next start scans it");
    }

    /// That of `segment`, if there is a whole one that fits it.
    pub(crate) fn load(env: &Env, segment: &Segment, group: GroupId) -> Option<Sidecar> {
        let path = Sidecar::path(segment.folder(), segment.base);
        let read = sealed_file::read_within(env, &path, FORMAT, BODY_BYTES_MAX).and_then(|found| {
            let Some((_, body)) = found else { return Ok(None) };
            let sidecar = Sidecar::decode(&body, group).filter(|sidecar| sidecar.fits(segment));
            let reason = || "it is not the index of this segment".into();
            sidecar.map(Some).ok_or_else(|| OpenError::Damaged { file: path.clone(), reason: reason() })
        });
        read.unwrap_or_else(|error| {
            tracing::warn!(%error, "the segment is scanned and its index written anew");
            None
        })
    }

    fn fits(&self, segment: &Segment) -> bool {
        let offsets = SEGMENT_HEADER_BYTES + 1..=segment.file_bytes;
        (self.base, self.salt) == (segment.base, segment.salt)
            && offsets.contains(&self.end_offset)
            && self.end_offset.is_multiple_of(RECORD_ALIGN_BYTES)
    }

    fn encode(&self, group: GroupId) -> Vec<u8> {
        let count = |length: usize| u32::try_from(length).expect("far fewer than 2^32");
        let kept = self.positions.kept();
        let mut body = Vec::with_capacity(RUNS_START + self.runs.len() * RUN_BYTES + kept.len() * POSITION_BYTES);
        body.extend_from_slice(&group.0.to_le_bytes());
        body.extend_from_slice(&[0; 4]);
        for number in [self.base.0, self.salt.0, self.end.0, self.end_offset] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        body.extend_from_slice(&count(self.runs.len()).to_le_bytes());
        body.extend_from_slice(&count(kept.len()).to_le_bytes());
        for run in &self.runs {
            body.extend_from_slice(&run.term.0.to_le_bytes());
            body.extend_from_slice(&run.index.0.to_le_bytes());
        }
        for (index, offset) in kept {
            body.extend_from_slice(&index.to_le_bytes());
            body.extend_from_slice(&offset.to_le_bytes());
        }
        body
    }

    /// `None` if the content makes no sense, or is another group's.
    fn decode(body: &[u8], group: GroupId) -> Option<Sidecar> {
        let head = body.get(..RUNS_START)?;
        let (base, end) = (LogIndex(u64_at(head, 8)), LogIndex(u64_at(head, 24)));
        let count = |at| usize::try_from(u32_at(head, at)).ok();
        let runs_bytes = count(40)?.checked_mul(RUN_BYTES)?;
        let (runs, positions) = body[RUNS_START..].split_at_checked(runs_bytes)?;
        if positions.len() != count(44)?.checked_mul(POSITION_BYTES)? || GroupId(u32_at(head, 0)) != group {
            return None;
        }
        let run = |bytes: &[u8]| LogId { term: Term(u64_at(bytes, 0)), index: LogIndex(u64_at(bytes, 8)) };
        let runs: Vec<LogId> = runs.chunks_exact(RUN_BYTES).map(run).collect();
        let ascending = runs.is_sorted_by(|a, b| a.term < b.term && a.index < b.index);
        if !ascending || runs.first()?.index != base || runs.last()?.index >= end {
            return None;
        }
        let kept = positions.chunks_exact(POSITION_BYTES).map(|bytes| (u32_at(bytes, 0), u32_at(bytes, 4))).collect();
        let end_offset = u64_at(head, 32);
        let positions = Positions::from_kept(base, kept, Position { index: end, offset: end_offset })?;
        Some(Sidecar { base, salt: Salt(u64_at(head, 16)), end, end_offset, runs, positions })
    }
}
