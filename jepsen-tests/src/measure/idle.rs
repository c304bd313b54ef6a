//! What the nodes of a group use while no client does anything.

use std::time::Duration;

use serde::Serialize;

use crate::{
    cluster::{Cluster, process},
    failure::Failure,
};

/// One node at rest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Idle {
    /// The node's id.
    pub node: u64,
    /// Of one core, in percent.
    pub cpu_percent: f64,
    /// Resident memory in 10^6 bytes.
    pub resident_mb: f64,
}

/// Watches all nodes for `span`.
///
/// # Errors
/// If a node does not run.
pub async fn watch(cluster: &Cluster, span: Duration) -> Result<Vec<Idle>, Failure> {
    let usages = || cluster.nodes().iter().map(|node| process::usage(node.pid())).collect::<Result<Vec<_>, _>>();
    let before = usages()?;
    tokio::time::sleep(span).await;
    let after = usages()?;
    let nodes = cluster.nodes().iter().zip(before.iter().zip(&after));
    Ok(nodes
        .map(|(node, (before, after))| Idle {
            node: node.id(),
            cpu_percent: after.cpu.saturating_sub(before.cpu).as_secs_f64() / span.as_secs_f64() * 100.0,
            resident_mb: after.resident_bytes as f64 / 1e6,
        })
        .collect())
}
