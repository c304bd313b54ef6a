//! What this node remembers of the others' data folders, to tell one that is an older copy of itself (hazards 34).
//!
//! For each node that has proved to be a member: the last opening of its folder that was seen, and how far it is known to
//! hold what is committed. The first is on the disk before the node gets an answer, the second a while later.
//! ```text
//!   it states                                          it is
//!   a past in which the last seen opening is missing   an older copy
//!   a new opening with fewer entries than it held      an older copy; or has lost power while `async`, and says so
//!   that it was found to be one                        an older copy
//! ```
//! The judgement is never taken back: what such a folder has forgotten cannot be known. So it must not be passed on what an
//! earlier run of the node said before it ended, and what came late: a later run may have been seen meanwhile. Only who was
//! asked after the last sighting, and still knows nothing of it, is an older copy ([`Moment`]).
//!
//! The body of the sealed file `sightings`, little-endian:
//! ```text
//!   count u16 │ each: node u64, incarnation u128, opening u64, nonce u64, held u64, older copy u8
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Buf, BufMut, BytesMut};

use crate::env::Env;
use crate::exec;
use crate::openings::{Lineage, Opening};
use crate::planted::{self, Bug};
use crate::storage::OpenError;
use crate::storage::sealed_file::{self, SealedFormat};
use crate::types::{Incarnation, NodeId};

/// What a leader's log says about a member of this kind.
pub(crate) const OLDER_COPY: &str = "the data folder of a member is an older copy of itself (a snapshot of its machine, or a restored \
    backup): it has forgotten votes or entries. It votes no more and follows as a learner; replace it by a node with an empty \
    folder and a fresh id: tercet cluster replace NODE NEW HOST:PORT";

const FORMAT: SealedFormat = SealedFormat { magic: *b"TRCTSEEN", version: 1 };
const FILE_NAME: &str = "sightings";

/// Nodes that are remembered; a group that has replaced more of them forgets those that are no members any more.
const NODES_MAX: usize = 1024;

/// What a node states of its folder's past in each handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) lineage: Lineage,
    /// Entries before this index were there when it was opened; `None` while the log is not open yet.
    pub(crate) opened_end: Option<u64>,
    /// Its machine stopped while it was `async`: it may hold less than it confirmed, and knows it (hazards 10).
    pub(crate) may_forget: bool,
    /// It was found to be an older copy of itself.
    pub(crate) older_copy: bool,
    /// It takes the one that it talks to for an older copy.
    pub(crate) accuses: bool,
}

/// How much had been seen when somebody was asked who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(u64);

/// What a node's past says of its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It goes on from where it was seen.
    GoesOn,
    /// It is an older copy of itself.
    OlderCopy,
    /// It was said by an earlier run than the one that was seen meanwhile; nothing follows from it.
    Late,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sighting {
    incarnation: Incarnation,
    opening: Opening,
    /// The how manieth opening it is that this process has seen; 0 if an earlier run has seen it.
    seen_as: u64,
    /// It holds all committed entries before this index.
    held: u64,
    older_copy: bool,
}

#[derive(Debug, Default)]
struct Inside {
    seen: BTreeMap<NodeId, Sighting>,
    /// How many openings were seen, of all nodes.
    openings: u64,
    /// Changes that must be on the disk before the node is answered, and how many of them are.
    changes: u64,
    saved: u64,
    /// Something else has changed, which may wait.
    is_stale: bool,
    /// The last attempt to save failed, and it was said.
    is_failing: bool,
}

/// See the module.
pub(crate) struct Sightings {
    env: Env,
    file: PathBuf,
    inside: Mutex<Inside>,
    saving: tokio::sync::Mutex<()>,
}

impl Sightings {
    /// What the folder remembers. A file of which both copies are damaged is as good as none, which is said.
    pub(crate) fn open(env: &Env, dir: &Path) -> Result<Sightings, OpenError> {
        let file = dir.join(FILE_NAME);
        let seen = match sealed_file::read(env, &file, FORMAT) {
            Ok(None) => BTreeMap::new(),
            Ok(Some((_version, body))) => {
                decode(&body).map_err(|error| OpenError::Damaged { file: file.clone(), reason: error.to_string() })?
            }
            Err(error @ OpenError::Damaged { .. }) => {
                tracing::warn!(%error, "what is remembered of the peers' folders is lost");
                BTreeMap::new()
            }
            Err(error) => return Err(error),
        };
        let inside = Mutex::new(Inside { seen, ..Inside::default() });
        Ok(Sightings { env: env.clone(), file, inside, saving: tokio::sync::Mutex::default() })
    }

    /// What has been seen until now: to be taken before a node is asked who it is.
    pub(crate) fn now(&self) -> Moment {
        Moment(self.inside().openings)
    }

    /// Judges this node's folder by the past that it states, and that it was asked for at some moment. What is new is
    /// remembered, in memory until [`Self::save`].
    pub(crate) fn judge(&self, node: NodeId, incarnation: Incarnation, past: &Past, asked: Moment) -> Judgement {
        let Some(opening) = past.lineage.last() else { return Judgement::GoesOn };
        let mut inside = self.inside();
        let known = inside.seen.get(&node).copied().filter(|seen| seen.incarnation == incarnation);
        let mut now = known.unwrap_or(Sighting { incarnation, opening, seen_as: 0, held: 0, older_copy: false });
        if now.seen_as > asked.0 && !now.older_copy && !past.older_copy && !past.lineage.holds(now.opening) {
            return Judgement::Late;
        }
        let reason = now.doubt(past);
        now.older_copy |= reason.is_some();
        if !now.older_copy {
            if past.may_forget && opening != now.opening {
                now.held = now.held.min(past.opened_end.unwrap_or(now.held));
            }
            if known.is_none() || opening != now.opening {
                inside.openings += 1;
                (now.opening, now.seen_as) = (opening, inside.openings);
            }
        }
        if known != Some(now) {
            inside.seen.insert(node, now);
            inside.changes += 1;
        }
        if let Some(reason) = reason {
            tracing::error!(peer = %node, %reason, "{}", OLDER_COPY);
        }
        if now.older_copy { Judgement::OlderCopy } else { Judgement::GoesOn }
    }

    /// Whether this node was found to be an older copy of itself.
    pub(crate) fn is_known_older_copy(&self, node: NodeId) -> bool {
        self.inside().seen.get(&node).is_some_and(|seen| seen.older_copy)
    }

    /// The nodes that were found to be older copies.
    pub(crate) fn older_copies(&self) -> Vec<NodeId> {
        self.inside().seen.iter().filter(|(_, seen)| seen.older_copy).map(|(node, _)| *node).collect()
    }

    /// This node has shown by its answers that it holds less than it confirmed.
    pub(crate) fn mark_older_copy(&self, node: NodeId) {
        let mut inside = self.inside();
        if let Some(seen) = inside.seen.get_mut(&node)
            && !seen.older_copy
        {
            seen.older_copy = true;
            inside.changes += 1;
        }
    }

    /// This node has confirmed all committed entries before this index.
    pub(crate) fn note_held(&self, node: NodeId, held: u64) {
        let mut inside = self.inside();
        if let Some(seen) = inside.seen.get_mut(&node)
            && seen.held < held
        {
            seen.held = held;
            inside.is_stale = true;
        }
    }

    /// This node may hold less than it confirmed, and knows it.
    pub(crate) fn lower_held(&self, node: NodeId, held: u64) {
        let mut inside = self.inside();
        if let Some(seen) = inside.seen.get_mut(&node)
            && seen.held > held
        {
            seen.held = held;
            inside.changes += 1;
        }
    }

    /// Returns when what was judged is on the disk, or the disk does not take it: then it is remembered in memory, and the
    /// next call tries again.
    pub(crate) async fn save(self: &Arc<Self>) {
        let is_saved = {
            let inside = self.inside();
            inside.changes == inside.saved
        };
        if !is_saved {
            self.write(false).await;
        }
    }

    /// [`Self::save`], with what may wait.
    pub(crate) async fn save_all(self: &Arc<Self>, members: &[NodeId]) {
        {
            let mut inside = self.inside();
            if inside.seen.len() > NODES_MAX {
                inside.seen.retain(|node, _| members.contains(node));
                inside.is_stale = true;
            }
            if inside.changes == inside.saved && !inside.is_stale {
                return;
            }
        }
        self.write(true).await;
    }

    async fn write(self: &Arc<Self>, stale: bool) {
        let _turn = self.saving.lock().await;
        let (body, changes) = {
            let mut inside = self.inside();
            if inside.changes == inside.saved && !(stale && inside.is_stale) {
                return;
            }
            inside.is_stale = false;
            (encode(&inside.seen), inside.changes)
        };
        let this = self.clone();
        let written = exec::blocking(move || sealed_file::write(&this.env, &this.file, FORMAT, &body)).await;
        let written: io::Result<()> = written.flatten();
        let mut inside = self.inside();
        match written {
            Ok(()) => {
                inside.saved = changes;
                inside.is_failing = false;
            }
            Err(error) => {
                inside.is_stale = true;
                if !std::mem::replace(&mut inside.is_failing, true) {
                    tracing::warn!(%error, "what is known of the peers' folders could not be written; it is tried again");
                }
            }
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().expect("no holder of this lock panics")
    }
}

impl Sighting {
    /// Why the folder of this past is an older copy, if that was not known before.
    fn doubt(&self, past: &Past) -> Option<String> {
        if self.older_copy {
            return None;
        }
        if past.older_copy {
            return Some("it was found to be one by another member".to_owned());
        }
        if !past.lineage.holds(self.opening) {
            let number = self.opening.number;
            return Some(format!("opening {number} of its folder was seen here, and it knows nothing of that"));
        }
        let opened_anew = past.lineage.last() != Some(self.opening);
        if planted::is(Bug::LogReversionAllowed) {
            return None;
        }
        let end = past.opened_end.filter(|end| opened_anew && *end < self.held && !past.may_forget)?;
        Some(format!(
            "it had confirmed the {} entries before {}, and was opened with those before {end}",
            self.held, self.held
        ))
    }
}

fn encode(seen: &BTreeMap<NodeId, Sighting>) -> BytesMut {
    let mut out = BytesMut::with_capacity(2 + 49 * seen.len());
    out.put_u16_le(u16::try_from(seen.len()).expect("few nodes are remembered"));
    for (node, seen) in seen {
        out.put_u64_le(node.0);
        out.put_u128_le(seen.incarnation.0);
        out.put_u64_le(seen.opening.number);
        out.put_u64_le(seen.opening.nonce);
        out.put_u64_le(seen.held);
        out.put_u8(u8::from(seen.older_copy));
    }
    out
}

fn decode(mut body: &[u8]) -> Result<BTreeMap<NodeId, Sighting>, bytes::TryGetError> {
    let input = &mut body;
    let mut seen = BTreeMap::new();
    for _ in 0..input.try_get_u16_le()? {
        let node = NodeId(input.try_get_u64_le()?);
        let incarnation = Incarnation(input.try_get_u128_le()?);
        let opening = Opening { number: input.try_get_u64_le()?, nonce: input.try_get_u64_le()? };
        let held = input.try_get_u64_le()?;
        let older_copy = input.try_get_u8()? != 0;
        seen.insert(node, Sighting { incarnation, opening, seen_as: 0, held, older_copy });
    }
    Ok(seen)
}

#[cfg(test)]
#[path = "sightings_tests.rs"]
mod tests;
