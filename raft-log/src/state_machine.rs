//! What the log drives: the deterministic state machine of the library's user.
//!
//! ```text
//!   open     applied() ───────────────► where replay begins
//!            reset()   ◄─────────────── when the state is ahead of the node's own log (hazards 1)
//!   running  apply(entries) ─────────► one response per entry, handed to the proposer on the leader
//!            flush_need()? begin_flush() ◄── only when the local log is durable through applied() (hazards 1)
//!               └─ FinishFlush ───────► called on another thread; apply goes on meanwhile
//!            begin_checkpoint() ◄────── at segment rolls, under the same condition
//!               └─ FinishCheckpoint(dir) ► as above; the files are kept and may be sent
//!            trim_command(to) ◄──────── on the leader, when retention wants entries below `to` gone; proposed
//!            release_command(to) ◄───── on the leader, when disks fill: the same for what nobody has yet to read
//!               └─ MakeCommand ► called on another thread; apply and reads go on meanwhile
//!            needed_from() ───────────► entries below may be purged once a kept checkpoint covers them
//!   behind   prepare_restore() ◄─────── a checkpoint has come from a peer
//!               └─ PrepareRestore(dir) ► called on another thread; apply and reads go on meanwhile
//!            restore(dir) ◄──────────── that one, or a kept one at open; then entries from applied() + 1
//! ```
//!
//! All calls come from one thread of the replica, one after the other, so an implementation may block on its store
//! without delaying heartbeats. What it takes long for, it returns: flushes and checkpoints are finished on a second thread,
//! one at a time, and a restore is prepared on a third. What it is not: a place that talks to Raft. It sees committed
//! entries only.

use std::path::Path;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::membership::Membership;
use crate::types::{LogId, LogIndex, Term, UnixMillis};

/// A committed entry on its way into the state machine.
#[derive(Clone, Debug)]
pub struct ApplyEntry {
    /// The entry's term and index.
    pub id: LogId,
    /// What it carries.
    pub kind: ApplyKind,
}

impl ApplyEntry {
    /// Bytes of the command; nothing of the others.
    pub(crate) fn payload_bytes(&self) -> usize {
        match &self.kind {
            ApplyKind::Command(payload) => payload.len(),
            ApplyKind::Blank | ApplyKind::Membership(_) => 0,
        }
    }
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

/// Whether a state machine wants what it has applied to be persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlushNeed {
    /// A restart would re-apply little.
    None,
    /// A flush is begun at the next moment at which the log is durable that far.
    Due,
    /// So much waits in memory that nothing is applied any more until a flush is begun.
    Overdue,
}

/// The rest of a flush: persists what was applied when it was begun, and nothing that was applied since. Blocks; when it
/// returns, all of it is durable.
///
/// # Errors
/// The store refused the write; the node stops.
pub type FinishFlush = Box<dyn FnOnce() -> Result<(), ApplyError> + Send>;

/// The rest of a checkpoint: writes the state at exactly the point at which it was begun as plain files (no folders) into
/// the folder, which exists and is empty. Afterwards nobody changes those files; links to immutable files of the store's own
/// are welcome. It is a flush as well. Blocks.
///
/// # Errors
/// The store or the disk refused. The node goes on, without this checkpoint.
pub type FinishCheckpoint = Box<dyn FnOnce(&Path) -> Result<(), ApplyError> + Send>;

/// The long part of a [`restore`](StateMachine::restore): makes what it can ready beside the live state, from the
/// checkpoint in the folder. Blocks.
///
/// # Errors
/// The files do not make a state, or the store refused. The state is as it was.
pub type PrepareRestore = Box<dyn FnOnce(&Path) -> Result<(), ApplyError> + Send>;

/// Makes a command of what was applied, on another thread, while applying goes on; `None` if there is nothing to propose. Blocks.
///
/// # Errors
/// The store did not read. It is asked for again after a while.
pub type MakeCommand = Box<dyn FnOnce() -> Result<Option<Bytes>, ApplyError> + Send>;

/// Reads from a command the time at which it was stamped; `None` for one that carries none.
pub type StampReader = fn(&[u8]) -> Option<UnixMillis>;

/// A deterministic state machine: equal entries give equal states and responses on every node.
///
/// MUST NOT read a clock, randomness or configuration inside [`apply`](Self::apply) (hazards 17).
/// MUST NOT persist anything of its own accord: only what was applied when [`begin_flush`](Self::begin_flush) or
/// [`begin_checkpoint`](Self::begin_checkpoint) was called, however long the rest of them takes (hazards 1).
pub trait StateMachine: Send + 'static {
    /// The applied point of what is in the state now; `None` for an empty state.
    fn applied(&self) -> Option<AppliedPoint>;

    /// Applies committed entries, in log order and without gaps. Answers one response per entry, empty for
    /// [`ApplyKind::Blank`] and [`ApplyKind::Membership`].
    ///
    /// # Errors
    /// Anything that keeps the state from following the log; the node stops.
    fn apply(&mut self, entries: Vec<ApplyEntry>) -> Result<Vec<Bytes>, ApplyError>;

    /// Whether enough was applied since the last flush was begun that a restart would re-apply too much, or that it fills
    /// the memory.
    fn flush_need(&self) -> FlushNeed;

    /// Begins to persist everything that was applied. MUST NOT take long: what does is in the answer, which is called on
    /// another thread while [`apply`](Self::apply) goes on. Called only when the local log is durable through the applied
    /// point, and never before the last flush or checkpoint is finished.
    ///
    /// # Errors
    /// The store refused; the node stops.
    fn begin_flush(&mut self) -> Result<FinishFlush, ApplyError>;

    /// Persists everything that was applied, at once.
    ///
    /// # Errors
    /// The store refused the write.
    fn flush(&mut self) -> Result<(), ApplyError> {
        self.begin_flush()?()
    }

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

    /// Like [`trim_command`](Self::trim_command), but when it is applied, only that may be let go of which nobody has yet to
    /// read, by what was applied until then. Proposed when disks fill (hazards 35). `None` if this state machine does not know
    /// who reads what. To find out may take long, and is left to the answer.
    fn release_command(&self, _to: LogIndex) -> Option<MakeCommand> {
        None
    }

    /// How the time at which a command was proposed is read from its bytes: retention by age goes by that, because it is
    /// the same on every node (hazards 19). Whoever proposes puts [`Replica::stamp`](crate::Replica::stamp) there. `None`
    /// if commands carry no time; nothing can go by age then. Asked once, at open.
    fn stamp_reader(&self) -> Option<StampReader> {
        None
    }

    /// Begins a checkpoint of the state at exactly [`applied`](Self::applied), under the conditions of
    /// [`begin_flush`](Self::begin_flush).
    ///
    /// # Errors
    /// The store refused. The node goes on, without this checkpoint.
    fn begin_checkpoint(&mut self) -> Result<FinishCheckpoint, ApplyError>;

    /// Writes a checkpoint into `dir`, at once.
    ///
    /// # Errors
    /// The store or the disk refused.
    fn checkpoint(&mut self, dir: &Path) -> Result<(), ApplyError> {
        self.begin_checkpoint()?(dir)
    }

    /// What can be made ready of a [`restore`](Self::restore) while the old state is still in use. It may be called and
    /// never be followed by the restore. Nothing, unless the state machine has something.
    fn prepare_restore(&self) -> PrepareRestore {
        Box::new(|_| Ok(()))
    }

    /// Replaces the state, durably and as a whole, by the checkpoint in `dir`, whose files stay as they are. After a
    /// crash in between, the next opening finds the old state, the new one, or an empty one, and this is called again.
    ///
    /// # Errors
    /// The files do not make a state, or the store refused; the node stops.
    fn restore(&mut self, dir: &Path) -> Result<(), ApplyError>;
}
