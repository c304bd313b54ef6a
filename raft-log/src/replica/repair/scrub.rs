//! Reads the log and the kept checkpoints again and again, slowly, so that damage is met while the peers still hold what is
//! lost, and before a follower needs the checkpoint.

use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::{CheckpointPlace, Checkpoints};
use crate::exec;
use crate::storage::{Log, ScrubPlace};

/// What is read of the log at once.
const STEP_BYTES: u64 = 1 << 20;
/// Pause when everything was read.
const IDLE: Duration = Duration::from_secs(10);

/// Scrubs for the life of the core, at `bytes_per_second`; 0 is never.
pub(crate) async fn run(log: Log, checkpoints: Arc<Checkpoints>, bytes_per_second: u64) {
    if bytes_per_second == 0 {
        return;
    }
    let paced = |bytes: u64| Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / bytes_per_second);
    loop {
        let mut place = None;
        loop {
            let (bytes, next) = step_of_log(&log, place, STEP_BYTES.min(bytes_per_second)).await;
            tokio::time::sleep(paced(bytes)).await;
            place = next;
            if place.is_none() {
                break;
            }
        }
        let mut place = None;
        loop {
            let (bytes, next) = step_of_checkpoints(&checkpoints, place).await;
            tokio::time::sleep(paced(bytes)).await;
            place = next;
            if place.is_none() {
                break;
            }
        }
        tokio::time::sleep(IDLE).await;
    }
}

/// Looks at a piece of the log; says how long it was and where to go on.
async fn step_of_log(log: &Log, place: Option<ScrubPlace>, bytes: u64) -> (u64, Option<ScrubPlace>) {
    let reader = log.clone();
    let step = match exec::blocking(move || reader.scrub(place, bytes)).await {
        Ok(step) => step,
        Err(error) => {
            tracing::warn!(%error, "the scrub found no thread to read on");
            return (bytes, None);
        }
    };
    if let Some(error) = step.skipped {
        tracing::warn!(%error, "the scrub could not read a piece of the log; it goes on behind it");
    }
    (step.bytes, step.next)
}

/// Looks at a chunk of a checkpoint; says how long it was and where to go on.
async fn step_of_checkpoints(
    checkpoints: &Arc<Checkpoints>,
    place: Option<CheckpointPlace>,
) -> (u64, Option<CheckpointPlace>) {
    let reader = checkpoints.clone();
    let step = match exec::blocking(move || reader.scrub(place)).await {
        Ok(step) => step,
        Err(error) => {
            tracing::warn!(%error, "the scrub found no thread to read on");
            return (0, None);
        }
    };
    if let Some(error) = step.skipped {
        tracing::warn!(%error, "the scrub could not read a piece of a checkpoint; it goes on behind it");
    }
    (step.bytes as u64, step.next)
}
