//! What the log drives: the deterministic state machine of the library's user.
//!
//! ```text
//!   open     applied() ───────────────► where replay begins
//!            reset()   ◄─────────────── when the state is ahead of the node's own log (hazards 1)
//!   running  apply(entries) ─────────► one response per entry, handed to the proposer on the leader
//!            wants_flush()? flush() ◄── only when the local log is durable through applied() (hazards 1)
//!            checkpoint(dir)  ◄──────── at segment rolls, under the same condition; the files are kept and may be sent
//!            trim_command(to) ◄──────── on the leader, when retention wants entries below `to` gone; proposed
//!            needed_from() ───────────► entries below may be purged once a kept checkpoint covers them
//!   behind   restore(dir) ◄──────────── a kept checkpoint or one that a peer sent; then entries from applied() + 1
//! ```
//!
//! All calls come from one thread of the replica, one after the other, so an implementation may block on its store
//! without delaying heartbeats. What it is not: a place that talks to Raft. It sees committed entries only.

use std::path::Path;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::membership::Membership;
use crate::types::{LogId, LogIndex, Term};

/// A committed entry on its way into the state machine.
#[derive(Clone, Debug)]
pub struct ApplyEntry {
    /// The entry's term and index.
    pub id: LogId,
    /// What it carries.
    pub kind: ApplyKind,
}

/// The content of a committed entry.
#[derive(Clone, Debug)]
pub enum ApplyKind {
    /// A new leader's first entry: carries nothing, moves the applied point.
    Blank,
    /// The bytes given to [`Replica::propose`](crate::Replica::propose), shared and not copied.
    Command(Bytes),
    /// A change of the group's members; to be kept beside the applied point, see [`AppliedPoint::membership`].
    Membership(Membership),
}

/// How far a state machine has applied, as persisted in one write with the state itself (hazards 18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedPoint {
    /// The last applied entry.
    pub id: LogId,
    /// The last applied membership entry and its encoding by [`Membership::encode`]; `None` before the first.
    pub membership: Option<(LogId, Bytes)>,
}

impl AppliedPoint {
    /// Appends it to `out`, for state machines that keep it in a file of their own.
    ///
    /// ```text
    ///   id: term u64, index u64 │ has membership u8 [│ term u64, index u64, length u32, bytes]
    /// ```
    pub fn encode_into(&self, out: &mut BytesMut) {
        put_id(out, self.id);
        out.put_u8(u8::from(self.membership.is_some()));
        if let Some((id, members)) = &self.membership {
            put_id(out, *id);
            out.put_u32_le(u32::try_from(members.len()).expect("memberships are far below 4 GiB"));
            out.put_slice(members);
        }
    }

    /// Takes one off the front of `input`; `None` if it is cut.
    #[must_use]
    pub fn decode_from(input: &mut &[u8]) -> Option<AppliedPoint> {
        let id = take_id(input)?;
        let membership = match input.try_get_u8().ok()? {
            0 => None,
            _ => {
                let at = take_id(input)?;
                let length = usize::try_from(input.try_get_u32_le().ok()?).ok()?;
                Some((at, Bytes::copy_from_slice(input.split_off(..length)?)))
            }
        };
        Some(AppliedPoint { id, membership })
    }
}

fn put_id(out: &mut BytesMut, id: LogId) {
    out.put_u64_le(id.term.0);
    out.put_u64_le(id.index.0);
}

fn take_id(input: &mut &[u8]) -> Option<LogId> {
    let (term, index) = (input.try_get_u64_le().ok()?, input.try_get_u64_le().ok()?);
    Some(LogId { term: Term(term), index: LogIndex(index) })
}

/// Why a state machine could not go on. It stops the node: a replica that skips an entry has diverged.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the state machine stopped: {reason}")]
pub struct ApplyError {
    /// What failed, with the file or the entry it concerns.
    pub reason: String,
}

impl ApplyError {
    /// An error with this text.
    pub fn new(reason: impl Into<String>) -> ApplyError {
        ApplyError { reason: reason.into() }
    }
}

/// A deterministic state machine: equal entries give equal states and responses on every node.
///
/// MUST NOT read a clock, randomness or configuration inside [`apply`](Self::apply) (hazards 17).
/// MUST NOT persist anything on its own between two calls of [`flush`](Self::flush) (hazards 1).
pub trait StateMachine: Send + 'static {
    /// The applied point of what is in the state now; `None` for an empty state.
    fn applied(&self) -> Option<AppliedPoint>;

    /// Applies committed entries, in log order and without gaps. Answers one response per entry, empty for
    /// [`ApplyKind::Blank`] and [`ApplyKind::Membership`].
    ///
    /// # Errors
    /// Anything that keeps the state from following the log; the node stops.
    fn apply(&mut self, entries: Vec<ApplyEntry>) -> Result<Vec<Bytes>, ApplyError>;

    /// Whether enough was applied since the last flush that a restart would re-apply too much.
    fn wants_flush(&self) -> bool;

    /// Persists everything that was applied. Called only when the local log is durable through the applied point.
    ///
    /// # Errors
    /// The store refused the write; the node stops.
    fn flush(&mut self) -> Result<(), ApplyError>;

    /// Drops the state to empty, durably. Called at open, when the state is ahead of the log; everything is replayed.
    ///
    /// # Errors
    /// The store refused; the replica does not open.
    fn reset(&mut self) -> Result<(), ApplyError>;

    /// The first entry that must stay readable. MUST follow from what was applied alone, and never fall.
    ///
    /// Entries below may be purged once a kept checkpoint covers them (hazards 23, 24). A state machine that never lets
    /// go of an entry answers [`LogIndex`] 0, and its log grows for ever.
    fn needed_from(&self) -> LogIndex;

    /// The command by which the leader asks every replica to let go of the entries below `to`; `None` if this state
    /// machine knows no such command. When it is applied, [`needed_from`](Self::needed_from) may move up to `to`, or
    /// less far if something below is still needed.
    fn trim_command(&self, to: LogIndex) -> Option<Bytes>;

    /// Writes the state at exactly [`applied`](Self::applied) as plain files (no folders) into `dir`, which exists and
    /// is empty. Afterwards nobody changes those files; links to immutable files of the store's own are welcome. Called
    /// only when the local log is durable through the applied point, so it may flush.
    ///
    /// # Errors
    /// The store or the disk refused. The node goes on, without this checkpoint.
    fn checkpoint(&mut self, dir: &Path) -> Result<(), ApplyError>;

    /// Replaces the state, durably and as a whole, by the checkpoint in `dir`, whose files stay as they are. After a
    /// crash in between, the next opening finds the old state, the new one, or an empty one, and this is called again.
    ///
    /// # Errors
    /// The files do not make a state, or the store refused; the node stops.
    fn restore(&mut self, dir: &Path) -> Result<(), ApplyError>;
}
