//! One run of `tercet bench publish` against a cluster.

use std::time::Duration;

use super::figures::Figures;
use crate::{
    cluster::Cluster,
    command,
    failure::{Doing, Failure},
};

/// How long a run may take beyond the time that it measures.
const OVERTIME: Duration = Duration::from_secs(60);

/// What is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Bytes of a body.
    pub size: u32,
    /// Unacknowledged messages at a time.
    pub in_flight: u32,
    /// How long to measure.
    pub duration: Duration,
}

/// Publishes to `topic`, which must exist.
///
/// # Errors
/// If the command fails or prints something else than figures.
pub async fn run(cluster: &Cluster, topic: &str, load: Load) -> Result<Figures, Failure> {
    let (size, in_flight) = (load.size.to_string(), load.in_flight.to_string());
    let producers = load.in_flight.min(4).to_string();
    let duration = format!("{}ms", load.duration.as_millis());
    let call = ["bench", "publish", "--topic", topic, "--size", &size, "--in-flight", &in_flight];
    let more = ["--producers", &producers, "--duration", &duration, "-o", "json"];
    let output = command::run(&cluster.endpoints(), &[&call[..], &more[..]].concat(), load.duration + OVERTIME).await?;
    serde_json::from_str(&output).doing(|| format!("figures of tercet bench in {output:?}"))
}
