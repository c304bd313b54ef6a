//! Taking a node apart, so that clients notice as little as possible. Nothing acknowledged depends on it.
//!
//! ```text
//!   not ready ─► leadership to another node ─► parked receives end ─► client port closes
//!             ─► nameservers hear of it ─► replica stops ─► HTTP closes
//! ```
//!
//! While leadership moves, requests are still answered: they are forwarded to the new leader.

use std::time::Duration;

use tokio::time::timeout;

use super::running::Node;
use crate::process::Signals;

/// For requests that still run once all parked ones are ended.
const REQUESTS_GRACE: Duration = Duration::from_secs(2);

/// Stops everything within `deadline`; a second signal stops it at once.
pub(super) async fn stop(node: Node, deadline: Duration, signals: &mut Signals) {
    tokio::select! {
        outcome = timeout(deadline, in_order(node)) => match outcome {
            Ok(()) => tracing::info!("stopped"),
            Err(_) => tracing::warn!(?deadline, "not everything stopped in time; stopping all the same"),
        },
        _ = signals.stop() => tracing::warn!("asked a second time: stopping at once"),
    }
}

async fn in_order(node: Node) {
    node.readiness.stop();
    match node.replica.transfer_leadership(None).await {
        Ok(()) => tracing::info!("leadership is handed over"),
        Err(error) => tracing::debug!(%error, "no leadership to hand over"),
    }
    node.api.shutdown();
    node.clients.stop(REQUESTS_GRACE).await;
    node.registrar.leave().await;
    node.replica.shutdown().await;
    node.stop_http.cancel();
    // Probes are short, and one that hangs is cut off by the deadline.
    drop(node.http.await);
}
