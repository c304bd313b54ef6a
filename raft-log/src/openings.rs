//! The openings of a data folder: what tells a folder from an older copy of itself (hazards 34).
//!
//! A snapshot of a machine or a restored backup brings everything back, the incarnation included, and with it a node that
//! has forgotten votes and entries. So each opening of the folder gets a number, one higher than the last, and a random
//! nonce; both are on the disk before a peer hears of them. Peers remember the last opening that they have seen (see
//! [`Sightings`](crate::raft::sightings::Sightings)), and the folder states the newest nonces to everybody:
//! ```text
//!   the folder      1:a  2:b  3:c ─── copied ──►  1:a  2:b  3:c
//!   goes on as      4:d  5:e                      4:x            restored: a peer that has seen 4:d or 5:e knows
//! ```
//! A copy that was taken while the node ran, and of which nobody has seen a later opening, cannot be told this way; what
//! remains is that its log ends before what it had confirmed.
//!
//! The body of the sealed file `openings`, little-endian:
//! ```text
//!   older copy u8 │ number of this opening u64 │ count u16 │ count nonces u64, the oldest first, this opening's last
//! ```

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use bytes::{Buf, BufMut, BytesMut};

use crate::env::Env;
use crate::exec::sync;
use crate::storage::OpenError;
use crate::storage::sealed_file::{self, SealedFormat};

const FORMAT: SealedFormat = SealedFormat { magic: *b"TRCTOPEN", version: 1 };
const FILE_NAME: &str = "openings";
const UNBROKEN: &str = "no holder of this lock panics";

/// Nonces that a folder keeps and states. A peer that has missed more openings than this takes the folder's word.
pub(crate) const NONCES_MAX: usize = 32;

/// One opening, as a peer remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) number: u64,
    pub(crate) nonce: u64,
}

/// The newest openings of a folder, as it states them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// The number of the last one.
    number: u64,
    /// At most [`NONCES_MAX`], the oldest first.
    nonces: VecDeque<u64>,
}

impl Lineage {
    /// The last opening; `None` if nothing was opened yet.
    pub(crate) fn last(&self) -> Option<Opening> {
        self.nonces.back().map(|nonce| Opening { number: self.number, nonce: *nonce })
    }

    /// Whether `seen` may be an opening of this folder's past or present. One that is older than the nonces that are kept
    /// is taken for it.
    pub(crate) fn holds(&self, seen: Opening) -> bool {
        let Some(age) = self.number.checked_sub(seen.number) else { return false };
        let age = usize::try_from(age).unwrap_or(usize::MAX);
        match self.nonces.iter().rev().nth(age) {
            Some(nonce) => *nonce == seen.nonce,
            // The first opening has the number 1: a folder that is younger than what it keeps has not forgotten any.
            None => self.nonces.len() == NONCES_MAX,
        }
    }

    /// The lineage after one more opening.
    pub(crate) fn with(mut self, nonce: u64) -> Lineage {
        self.number += 1;
        self.nonces.push_back(nonce);
        if self.nonces.len() > NONCES_MAX {
            self.nonces.pop_front();
        }
        self
    }

    pub(crate) fn encode_into(&self, out: &mut BytesMut) {
        out.put_u64_le(self.number);
        out.put_u16_le(u16::try_from(self.nonces.len()).expect("few are kept"));
        self.nonces.iter().for_each(|nonce| out.put_u64_le(*nonce));
    }

    pub(crate) fn decode_from(input: &mut &[u8]) -> Result<Lineage, bytes::TryGetError> {
        let number = input.try_get_u64_le()?;
        let count = input.try_get_u16_le()?;
        let mut nonces = VecDeque::new();
        for _ in 0..count {
            nonces.push_back(input.try_get_u64_le()?);
            if nonces.len() > NONCES_MAX {
                nonces.pop_front();
            }
        }
        Ok(Lineage { number, nonces })
    }
}

#[derive(Clone, Debug, Default)]
struct Fields {
    older_copy: bool,
    lineage: Lineage,
}

/// The openings of an open folder, this one among them. The caller holds the folder's lock.
pub(crate) struct Openings {
    env: Env,
    file: PathBuf,
    /// Held while they change; whoever reads them never waits for a disk.
    changing: sync::Mutex<()>,
    fields: Mutex<Fields>,
}

impl Openings {
    /// Notes this opening, durably.
    ///
    /// # Errors
    /// When the file cannot be read or written, or both of its copies are damaged.
    pub(crate) fn begin(env: &Env, dir: &Path) -> Result<Openings, OpenError> {
        let file = dir.join(FILE_NAME);
        let mut fields = match sealed_file::read(env, &file, FORMAT)? {
            Some((_version, body)) => {
                decode(&body).map_err(|error| OpenError::Damaged { file: file.clone(), reason: error.to_string() })?
            }
            None => Fields::default(),
        };
        fields.lineage = fields.lineage.with(env.rng.next_u64());
        let written = sealed_file::write(env, &file, FORMAT, &encode(&fields));
        written.map_err(|source| OpenError::Io { action: "noting this opening in", file: file.clone(), source })?;
        Ok(Openings { env: env.clone(), file, changing: sync::Mutex::default(), fields: Mutex::new(fields) })
    }

    pub(crate) fn lineage(&self) -> Lineage {
        self.fields().lineage.clone()
    }

    /// Whether a peer has found that this folder is an older copy of itself.
    pub(crate) fn is_older_copy(&self) -> bool {
        self.fields().older_copy
    }

    /// Notes, durably, that this folder is an older copy of itself: from now on it says so by itself. In memory at once,
    /// whatever the disk does.
    pub(crate) fn mark_older_copy(&self) -> std::io::Result<()> {
        let _changing = self.changing.lock().expect(UNBROKEN);
        let marked = {
            let mut fields = self.fields();
            fields.older_copy = true;
            fields.clone()
        };
        sealed_file::write(&self.env, &self.file, FORMAT, &encode(&marked))
    }

    fn fields(&self) -> MutexGuard<'_, Fields> {
        self.fields.lock().expect(UNBROKEN)
    }
}

fn encode(fields: &Fields) -> BytesMut {
    let mut out = BytesMut::with_capacity(11 + 8 * NONCES_MAX);
    out.put_u8(u8::from(fields.older_copy));
    fields.lineage.encode_into(&mut out);
    out
}

fn decode(mut body: &[u8]) -> Result<Fields, bytes::TryGetError> {
    let older_copy = body.try_get_u8()? != 0;
    Ok(Fields { older_copy, lineage: Lineage::decode_from(&mut body)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::{Crash, SimEnv};

    const DIR: &str = "/data";

    fn machine() -> SimEnv {
        let machine = SimEnv::new(1);
        machine.env().disk.create_dir_all(Path::new(DIR)).unwrap();
        machine
    }

    fn open(machine: &SimEnv) -> Openings {
        Openings::begin(&machine.env(), Path::new(DIR)).unwrap()
    }

    #[test]
    fn each_opening_has_the_next_number_and_is_on_the_disk_when_it_is_known() {
        let machine = machine();
        let first = open(&machine).lineage().last().unwrap();
        machine.disk.crash(Crash::LoseUnsynced);
        let lineage = open(&machine).lineage();
        assert_eq!((first.number, lineage.last().unwrap().number), (1, 2));
        assert!(lineage.holds(first), "the past is kept");
        assert!(!lineage.holds(Opening { nonce: first.nonce ^ 1, ..first }));
    }

    // Hazards 34: the numbers of the copy pass those that a peer has seen, and the nonces still tell them apart.
    #[test]
    fn an_older_copy_holds_no_opening_that_came_after_it() {
        let machine = machine();
        open(&machine);
        let copy = SimEnv { disk: std::sync::Arc::new(machine.disk.fork()), ..SimEnv::new(2) };
        let seen = open(&machine).lineage().last().unwrap();
        for _ in 0..NONCES_MAX - 1 {
            assert!(!open(&copy).lineage().holds(seen));
        }
        for _ in 0..3 * NONCES_MAX {
            open(&machine);
        }
        assert!(open(&machine).lineage().holds(seen), "it is older than what is kept");
    }

    #[test]
    fn what_a_peer_has_found_outlives_restarts() {
        let machine = machine();
        open(&machine).mark_older_copy().unwrap();
        machine.disk.crash(Crash::LoseUnsynced);
        assert!(open(&machine).is_older_copy());
    }

    #[test]
    fn a_lineage_survives_the_wire() {
        let machine = machine();
        open(&machine);
        let lineage = open(&machine).lineage();
        let mut out = BytesMut::new();
        lineage.encode_into(&mut out);
        assert_eq!(Lineage::decode_from(&mut &out[..]).unwrap(), lineage);
        for cut in 0..out.len() {
            assert!(Lineage::decode_from(&mut &out[..cut]).is_err(), "cut at {cut}");
        }
    }
}
