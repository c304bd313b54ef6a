//! Runs of `tercet bench consume`: through a backlog, beside publishers as fast as they can, and waiting for what comes slowly.

use std::time::Duration;

use super::{
    figures::Figures,
    load::{self, Load},
};
use crate::{
    cluster::Cluster,
    command::Running,
    failure::{Doing, Failure},
    setup,
};

const SIZE: u32 = 1024;
const QUEUES: u32 = 16;
const CONSUMERS: u32 = 4;
/// Messages that are asked for ahead of a backlog, and beside publishers.
const AHEAD: u32 = 8192;
/// Messages a second for which a consumer waits.
const SLOW: u32 = 1000;
/// A consumer is there so long before what it waits for.
const BEFORE: Duration = Duration::from_secs(2);
const OVERTIME: Duration = Duration::from_secs(60);

/// What one run found.
#[derive(Debug, Clone, Copy)]
pub struct Both {
    /// What was published.
    pub published: Figures,
    /// What was consumed meanwhile.
    pub consumed: Figures,
}

/// Makes a topic with messages enough for each drain: as many as are published in that time.
///
/// # Errors
/// If a command fails.
pub async fn backlog(cluster: &Cluster, topic: &str, duration: Duration) -> Result<Figures, Failure> {
    setup::create_topic(cluster, topic, QUEUES).await?;
    load::run(cluster, topic, Load { size: SIZE, in_flight: 1024, duration }).await
}

/// A group of its own works through the backlog from its beginning, and acknowledges it.
///
/// # Errors
/// If the command fails.
pub async fn drain(cluster: &Cluster, topic: &str, group: &str, duration: Duration) -> Result<Figures, Failure> {
    figures(consumers(cluster, topic, group, duration)?, duration).await
}

/// Publishes to a new topic as fast as that goes, and consumes it at the same time.
///
/// # Errors
/// If a command fails.
pub async fn both_at_once(cluster: &Cluster, topic: &str, duration: Duration) -> Result<Both, Failure> {
    setup::create_topic(cluster, topic, QUEUES).await?;
    let consuming = consumers(cluster, topic, topic, duration)?;
    let published = load::run(cluster, topic, Load { size: SIZE, in_flight: 1024, duration }).await?;
    Ok(Both { published, consumed: figures(consuming, duration).await? })
}

/// A consumer waits for each of a thousand messages a second; latencies are from the moment at which a message was to be published
/// until it is there.
///
/// # Errors
/// If a command fails.
pub async fn waiting(cluster: &Cluster, topic: &str, duration: Duration) -> Result<Figures, Failure> {
    setup::create_topic(cluster, topic, QUEUES).await?;
    let span = duration + BEFORE * 2;
    let consuming = start(cluster, &["consume", "--topic", topic, "--group", topic, "--duration", &millis(span)])?;
    tokio::time::sleep(BEFORE).await;
    let (size, rate) = (SIZE.to_string(), SLOW.to_string());
    let call = ["publish", "--topic", topic, "--size", &size, "--rate", &rate, "--duration", &millis(duration)];
    figures(start(cluster, &call)?, duration).await?;
    figures(consuming, span).await
}

fn consumers(cluster: &Cluster, topic: &str, group: &str, duration: Duration) -> Result<Running, Failure> {
    let (count, ahead) = (CONSUMERS.to_string(), AHEAD.to_string());
    let call = ["consume", "--topic", topic, "--group", group, "--consumers", &count, "--in-flight", &ahead];
    start(cluster, &[&call[..], &["--duration", &millis(duration)]].concat())
}

fn start(cluster: &Cluster, call: &[&str]) -> Result<Running, Failure> {
    Running::start(&cluster.endpoints(), &[&["bench"], call, &["-o", "json"]].concat())
}

async fn figures(running: Running, duration: Duration) -> Result<Figures, Failure> {
    let output = running.finish(duration + OVERTIME).await?;
    serde_json::from_str(&output).doing(|| format!("figures of tercet bench in {output:?}"))
}

fn millis(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
