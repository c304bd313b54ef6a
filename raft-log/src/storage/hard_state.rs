//! Term and vote on disk, twice (hazards 4).
//!
//! ```text
//!   file `hard-state`, 8 KiB:   0 slot A │ 4,096 slot B
//!   slot: 0 prefix 16 │ 16 group u32 │ 20 flags u32 (1 voted, 2 committed) │ 24 sequence u64 │ 32 term u64 │
//!        40 voted for u64 │ 48 CRC32C of the 48 bytes before u32
//! ```
//! A save writes slot A, syncs, writes slot B with the same content, syncs, then answers. So at any moment one slot is
//! whole, and an answered state stands in both: a single damaged slot never makes the node fall back to an older vote.
//! Two damaged slots stop the node. The file comes into being as a whole, both slots filled.
//!
//! At each opening both slots are written again, that first which may not be on disk: after a failed sync the page cache
//! shows what the disk lacks (hazards 32). The other one holds the state durably meanwhile; to write the same bytes over it
//! changes nothing there, whatever a crash leaves of that.

use super::error::OpenError;
use super::format::prefix::{self, Magic, PREFIX_BYTES, PrefixError};
use super::media::write_over;
use super::record::HardState;
use super::sealed_file;
use crate::env::{Env, File, OpenMode, is_media_error};
use crate::planted::{self, Bug};
use crate::types::{GroupId, NodeId, Term};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file's name in the data folder.
pub(crate) const HARD_STATE_NAME: &str = "hard-state";

const MAGIC: Magic = *b"TERCVOTE";
const VERSION: u32 = 1;
const SLOT_A: u64 = 0;
const SLOT_B: u64 = 4_096;
const SLOT_BYTES: usize = 52;
const CRC_AT: usize = 48;
const FLAG_VOTED: u32 = 1;
const FLAG_COMMITTED: u32 = 2;

/// One slot's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    group: GroupId,
    sequence: u64,
    state: HardState,
}

/// The hard state file, open for writing.
pub(crate) struct HardStateFile {
    path: PathBuf,
    group: GroupId,
    /// Not there before the first save.
    file: Option<Arc<dyn File>>,
    sequence: u64,
}

/// What [`HardStateFile::load`] found.
pub(crate) struct LoadedHardState {
    pub(crate) file: HardStateFile,
    pub(crate) state: Option<HardState>,
    /// A slot is damaged or behind.
    pub(crate) needs_repair: bool,
    /// What both slots must hold, and the offset of the slot that is written first.
    slot: Option<(Slot, u64)>,
}

impl LoadedHardState {
    /// Writes both slots again, durably; the state MUST NOT be used before.
    pub(crate) fn write_again(&self) -> io::Result<()> {
        let (Some((slot, first)), Some(file)) = (&self.slot, &self.file.file) else { return Ok(()) };
        let bytes = encode(slot);
        let second = if *first == SLOT_A { SLOT_B } else { SLOT_A };
        for offset in [*first, second] {
            write_over(file.as_ref(), &bytes, offset)?;
            file.sync_data()?;
        }
        Ok(())
    }
}

impl HardStateFile {
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join(HARD_STATE_NAME)
    }

    /// Reads the hard state of `dir`; changes nothing.
    pub(crate) fn load(env: &Env, dir: &Path, group: GroupId) -> Result<LoadedHardState, OpenError> {
        let path = HardStateFile::path(dir);
        let io_error = |source| OpenError::Io { action: "reading", file: path.clone(), source };
        if !env.disk.exists(&path).map_err(io_error)? {
            let file = HardStateFile { path, group, file: None, sequence: 0 };
            return Ok(LoadedHardState { file, state: None, needs_repair: false, slot: None });
        }
        let file = env.disk.open(&path, OpenMode::ReadWrite).map_err(io_error)?;
        let slot_a = read_slot(file.as_ref(), SLOT_A).map_err(io_error)?;
        let slot_b = read_slot(file.as_ref(), SLOT_B).map_err(io_error)?;
        let needs_repair = slot_a != slot_b;
        let first = first_to_write(&slot_a, &slot_b);
        let slot = choose(&path, slot_a, slot_b)?;
        if slot.group != group {
            return Err(OpenError::OtherGroup { file: path, found: slot.group, expected: group });
        }
        let file = HardStateFile { path, group, file: Some(file), sequence: slot.sequence };
        Ok(LoadedHardState { file, state: Some(slot.state), needs_repair, slot: Some((slot, first)) })
    }

    /// Whether the file is not there yet.
    pub(crate) fn is_new(&self) -> bool {
        self.file.is_none()
    }

    /// Saves `state` in both slots, durably.
    pub(crate) fn save(&mut self, env: &Env, state: HardState) -> io::Result<()> {
        self.sequence += 1;
        let bytes = encode(&Slot { group: self.group, sequence: self.sequence, state });
        match &self.file {
            Some(file) => {
                for offset in [SLOT_A, SLOT_B] {
                    write_over(file.as_ref(), &bytes, offset)?;
                    if !planted::is(Bug::UnsyncedVote) {
                        file.sync_data()?;
                    }
                }
            }
            None => {
                let slot_b = usize::try_from(SLOT_B).expect("a constant that fits");
                let mut content = vec![0; slot_b * 2];
                content[..SLOT_BYTES].copy_from_slice(&bytes);
                content[slot_b..slot_b + SLOT_BYTES].copy_from_slice(&bytes);
                sealed_file::replace(env, &self.path, &content)?;
                self.file = Some(env.disk.open(&self.path, OpenMode::ReadWrite)?);
            }
        }
        Ok(())
    }
}

/// What each slot of `dir` holds, for tools; `None` without the file.
pub(crate) type SlotContents = [Result<(GroupId, HardState), String>; 2];

/// Reads both slots of `dir`'s hard state and judges nothing.
pub(crate) fn slots(env: &Env, dir: &Path) -> io::Result<Option<SlotContents>> {
    let path = HardStateFile::path(dir);
    if !env.disk.exists(&path)? {
        return Ok(None);
    }
    let file = env.disk.open(&path, OpenMode::Read)?;
    let content = |offset| {
        let slot = read_slot(file.as_ref(), offset)?;
        Ok::<_, io::Error>(slot.map(|slot| (slot.group, slot.state)).map_err(|error| match error {
            PrefixError::Damaged(reason) => reason,
            PrefixError::Newer { found } => {
                format!("it has format version {found}, this program reads up to {VERSION}")
            }
        }))
    };
    Ok(Some([content(SLOT_A)?, content(SLOT_B)?]))
}

/// The slot of which it is not sure that it is on disk. B was written only after A was synced: where both show the same, or B
/// is damaged, that is B; where B is whole and older, its state is the last that was answered, and A is brought up first.
fn first_to_write(a: &Result<Slot, PrefixError>, b: &Result<Slot, PrefixError>) -> u64 {
    match (a, b) {
        (Ok(a), Ok(b)) if a == b => SLOT_B,
        (Ok(_), Err(_)) => SLOT_B,
        _ => SLOT_A,
    }
}

/// The newer of the whole slots. An older whole slot is a save that was cut between A and B.
fn choose(path: &Path, a: Result<Slot, PrefixError>, b: Result<Slot, PrefixError>) -> Result<Slot, OpenError> {
    match (a, b) {
        (Ok(a), Ok(b)) if a.sequence == b.sequence && a != b => {
            let reason = "its two copies are whole but contradict each other".into();
            Err(OpenError::Damaged { file: path.into(), reason })
        }
        (Ok(a), Ok(b)) => Ok(if a.sequence >= b.sequence { a } else { b }),
        (Err(PrefixError::Newer { found }), _) | (_, Err(PrefixError::Newer { found })) => {
            Err(OpenError::NewerFormat { file: path.into(), found, supported: VERSION })
        }
        (Ok(slot), Err(_)) | (Err(_), Ok(slot)) => Ok(slot),
        (Err(PrefixError::Damaged(slot_a)), Err(PrefixError::Damaged(slot_b))) => {
            Err(OpenError::HardStateDamaged { file: path.into(), slot_a, slot_b })
        }
    }
}

fn read_slot(file: &dyn File, offset: u64) -> io::Result<Result<Slot, PrefixError>> {
    let mut bytes = [0; SLOT_BYTES];
    match file.read_at(&mut bytes, offset) {
        Ok(read) => Ok(decode(&bytes[..read])),
        Err(error) if is_media_error(&error) => Ok(Err(PrefixError::Damaged("the device cannot read it".into()))),
        Err(error) => Err(error),
    }
}

fn encode(slot: &Slot) -> [u8; SLOT_BYTES] {
    let voted = if slot.state.voted_for.is_some() { FLAG_VOTED } else { 0 };
    let committed = if slot.state.committed { FLAG_COMMITTED } else { 0 };
    let mut bytes = [0; SLOT_BYTES];
    bytes[..PREFIX_BYTES].copy_from_slice(&prefix::encode(MAGIC, VERSION));
    bytes[16..20].copy_from_slice(&slot.group.0.to_le_bytes());
    bytes[20..24].copy_from_slice(&(voted | committed).to_le_bytes());
    bytes[24..32].copy_from_slice(&slot.sequence.to_le_bytes());
    bytes[32..40].copy_from_slice(&slot.state.term.0.to_le_bytes());
    bytes[40..48].copy_from_slice(&slot.state.voted_for.unwrap_or_default().0.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Result<Slot, PrefixError> {
    prefix::decode(bytes, MAGIC, VERSION)?;
    let bytes: &[u8; SLOT_BYTES] =
        bytes.try_into().map_err(|_| PrefixError::Damaged(format!("only {} bytes long", bytes.len())))?;
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    if crc32c::crc32c(&bytes[..CRC_AT]) != word(CRC_AT) {
        return Err(PrefixError::Damaged("its CRC does not match".into()));
    }
    let flags = word(20);
    let voted_for = (flags & FLAG_VOTED != 0).then_some(NodeId(long(40)));
    let state = HardState { term: Term(long(32)), voted_for, committed: flags & FLAG_COMMITTED != 0 };
    Ok(Slot { group: GroupId(word(16)), sequence: long(24), state })
}

impl std::fmt::Debug for HardStateFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HardStateFile({})", self.path.display())
    }
}
