//! Replacing the state by a checkpoint.

use crate::checkpoint::Checkpoint;
use crate::planted::{self, Bug};
use crate::state_machine::{ApplyError, StateMachine};

/// Replaces the state by a checkpoint, whose bytes were verified.
///
/// # Errors
/// The state machine refused, or restored something else.
pub(crate) fn restore(machine: &mut dyn StateMachine, from: &Checkpoint) -> Result<(), ApplyError> {
    machine.restore(&from.state())?;
    let found = machine.applied().map(|point| point.id);
    if found != Some(from.id()) && !planted::is(Bug::CheckpointAhead) {
        return Err(ApplyError::new(format!("checkpoint {} was restored as {found:?}", from.id())));
    }
    Ok(())
}
