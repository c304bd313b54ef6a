//! Waiting for what another process does, with an end. There is no event to await across processes, so these poll.

use std::time::{Duration, Instant};

use crate::failure::Failure;

/// How often a condition is looked at.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Asks `condition` until it is some, at most for `limit`.
///
/// # Errors
/// If the time is up; the text names `what`.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> Result<T, Failure> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(Failure(format!("{what}: not within {limit:?}")));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
