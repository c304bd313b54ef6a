//! The tasks of retention look at intervals, for the life of the core.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;

use crate::raft::core::RaftCore;

/// Waits until it is time for the next look; `false` if the core has stopped.
pub(super) async fn next_look(raft: &RaftCore, interval: Duration) -> bool {
    tokio::time::sleep(interval).await;
    raft.metrics().borrow_watched().running_state.is_ok()
}
