//! What the log drives: the deterministic state machine of the library's user.
//!
//! ```text
//!   open     applied() ───────────────► where replay begins
//!            reset()   ◄─────────────── when the state is ahead of the node's own log (hazards 1)
//!   running  apply(entries) ─────────► one response per entry, handed to the proposer on the leader
//!            wants_flush()? flush() ◄── only when the local log is durable through applied() (hazards 1)
//! ```
//!
//! All calls come from one thread of the replica, one after the other, so an implementation may block on its store
//! without delaying heartbeats. What it is not: a place that talks to Raft. It sees committed entries only.

use bytes::Bytes;

use crate::membership::Membership;
use crate::types::LogId;

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
}
