//! Reads the segments again and again, slowly, so that damage is met while the peers still hold what is lost.

use std::time::Duration;

use crate::exec;
use crate::storage::Log;

/// What is read at once.
const STEP_BYTES: u64 = 1 << 20;
/// Pause when everything was read.
const IDLE: Duration = Duration::from_secs(10);

/// Scrubs for the life of the core, at `bytes_per_second`; 0 is never.
pub(crate) async fn run(log: Log, bytes_per_second: u64) {
    if bytes_per_second == 0 {
        return;
    }
    let step_bytes = STEP_BYTES.min(bytes_per_second);
    let mut place = None;
    loop {
        let reader = log.clone();
        let pause = match exec::blocking(move || reader.scrub(place, step_bytes)).await {
            Ok(step) => {
                if let Some(error) = step.skipped {
                    tracing::warn!(%error, "the scrub could not read a piece of the log; it goes on behind it");
                }
                place = step.next;
                let paced = Duration::from_nanos(step.bytes.saturating_mul(1_000_000_000) / bytes_per_second);
                if place.is_none() { paced.max(IDLE) } else { paced }
            }
            Err(error) => {
                tracing::warn!(%error, "the scrub found no thread to read on");
                IDLE
            }
        };
        tokio::time::sleep(pause).await;
    }
}
