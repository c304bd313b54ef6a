//! Fitting state, checkpoints and log to each other when a replica opens (hazards 1).
//!
//! ```text
//!   applied in purged ..= last, and the log holds it      the state stays; the rest is applied again
//!   anything else     a checkpoint in purged ..= last     the newest of them is restored; the rest is applied again
//!                     none, and nothing is purged         the state is dropped, and everything is applied again
//!                     none, but the log's start is gone   the replica does not open: only a peer has that state
//! ```
//! Checkpoints that the log does not hold are removed first, whether the state fits or not: they would be restored when the
//! core starts. A state before the purge point is what an interrupted install leaves, and a state beyond the log's end what a lost
//! tail leaves. Both are repaired by the same rule.

use crate::checkpoint::{CheckpointError, Checkpoints};
use crate::env::Env;
use crate::raft::state_worker::restore;
use crate::replica::OpenError;
use crate::state_machine::StateMachine;
use crate::storage::Log;
use crate::types::{LogId, LogIndex};

/// Makes the state one that the log goes on from. Blocks.
pub(crate) fn fit_state_to_log(
    env: &Env,
    machine: &mut dyn StateMachine,
    checkpoints: &Checkpoints,
    log: &Log,
) -> Result<(), OpenError> {
    let bounds = log.bounds();
    checkpoints.remove_above(bounds.last.map(|last| last.index)).map_err(unreadable)?;
    let applied = machine.applied().map(|point| point.id);
    let first = bounds.purged.map_or(LogIndex(0), |purged| purged.index);
    // One whose install a crash cut short, while the log still held a longer end of an older term: openraft would restore it
    // and find that the log contradicts it. A leader sends it again.
    while let Some(foreign) = checkpoints.newest().map(|newest| newest.id()).filter(|newest| newest.index >= first) {
        if log_holds(log, foreign)? {
            break;
        }
        checkpoints.remove(foreign).map_err(unreadable)?;
    }
    let fits = match applied {
        None => bounds.purged.is_none(),
        Some(applied) => applied.index >= first && log_holds(log, applied)?,
    };
    if fits {
        return Ok(());
    }
    tracing::warn!(?applied, purged = ?bounds.purged, last = ?bounds.last, "the state does not fit the log; it is made anew");
    while let Some(newest) = checkpoints.newest().filter(|newest| newest.id().index >= first) {
        let id = newest.id();
        let usable = log_holds(log, id)? && verified(&newest.verify(env))?;
        if usable {
            restore(machine, &newest)?;
            tracing::info!(%id, "the state is restored from a checkpoint");
            return Ok(());
        }
        drop(newest);
        checkpoints.remove(id).map_err(unreadable)?;
    }
    if let Some(purged) = bounds.purged {
        return Err(OpenError::StateLost { applied, purged });
    }
    machine.reset()?;
    assert!(machine.applied().is_none(), "a state machine that was reset has applied nothing");
    Ok(())
}

/// Whether a checkpoint is whole; a disk that cannot be read is another matter.
fn verified(result: &Result<(), CheckpointError>) -> Result<bool, OpenError> {
    match result {
        Ok(()) => Ok(true),
        Err(error @ CheckpointError::Damaged { .. }) => {
            tracing::error!(%error, "a damaged checkpoint is removed");
            Ok(false)
        }
        Err(error @ (CheckpointError::Io { .. } | CheckpointError::Taken(_))) => {
            Err(OpenError::Checkpoint(error.to_string()))
        }
    }
}

fn unreadable(error: CheckpointError) -> OpenError {
    OpenError::Checkpoint(error.to_string())
}

/// Whether the log contains exactly this entry, or was purged exactly up to it.
fn log_holds(log: &Log, id: LogId) -> Result<bool, OpenError> {
    let bounds = log.bounds();
    if bounds.purged.is_some_and(|purged| id.index <= purged.index) {
        return Ok(bounds.purged == Some(id));
    }
    if bounds.last.is_none_or(|last| id.index > last.index) {
        return Ok(false);
    }
    Ok(log.id_at(id.index) == Some(id))
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
