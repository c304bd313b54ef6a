//! What acknowledgements take while many times as much is published as the group takes in.
//!
//! The group is set to hold little that waits to be stored, and publishers keep a multiple of that on its way, refused or not.
//! Beside them a consumer group works through a backlog at a steady pace and acknowledges each message.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tercet_client::{Client, Consumer, ConsumerOptions};
use tokio::{sync::Mutex, task::JoinSet, time::MissedTickBehavior};

use super::{figures::Figures, load};
use crate::{
    cluster::Cluster,
    command::Running,
    failure::{Doing, Failure},
    http, setup,
};

/// What may wait to be stored, in the group that is measured: the least that a node can be set to.
const FITS_BYTES: u32 = 8 << 20;
const BODY_BYTES: u32 = 1024;
/// Each keeps 2 MiB on its way: four requests of 512 messages.
const PRODUCER_BYTES: u32 = 2 << 20;
const RECEIVERS: u32 = 4;
/// Messages that a receiver has on their way to it.
const MESSAGES_AT_ONCE: u64 = 32;
/// Between two receives of one receiver.
const PACE: Duration = Duration::from_millis(50);
/// The shortest that there is: a delivery that is not acknowledged by then comes twice.
const INVISIBLE: Duration = Duration::from_secs(10);
/// To store the backlog, and for what is in flight to end.
const OVERTIME: Duration = Duration::from_secs(60);

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Acknowledgements {
    /// Messages that were acknowledged.
    pub count: usize,
    /// Half of the acknowledgements took at most this, in milliseconds.
    pub p50_ms: f64,
    /// The same for 99 of 100.
    pub p99_ms: f64,
    /// The longest, in milliseconds.
    pub max_ms: f64,
    /// Acknowledgements that were refused or not answered.
    pub failed: u32,
    /// Deliveries of a message beyond its first.
    pub doubled: u32,
}

/// One run: at rest and under overload.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Overload {
    /// While nobody publishes.
    pub at_rest: Acknowledgements,
    /// While too much is published.
    pub overloaded: Acknowledgements,
    /// What was published meanwhile.
    pub published: Figures,
    /// Publish requests that were refused because too much waited.
    pub refused: f64,
}

impl Overload {
    /// As lines of a table.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text =
            String::from("| publishing | acknowledged | p50 ms | p99 ms | max ms | failed | delivered twice |\n");
        text.push_str("|---|---|---|---|---|---|---|\n");
        let overload = format!("{:.0}/s stored, {:.0} requests refused", self.published.rate, self.refused);
        for (name, acks) in [("none", self.at_rest), (&overload, self.overloaded)] {
            let Acknowledgements { count, p50_ms, p99_ms, max_ms, failed, doubled } = acks;
            text.push_str(&format!(
                "| {name} | {count} | {p50_ms:.2} | {p99_ms:.2} | {max_ms:.1} | {failed} | {doubled} |\n"
            ));
        }
        text
    }
}

/// Measures for `span` at rest and for `span` while publishers keep `times` as much on its way as fits.
///
/// # Errors
/// If the group does not start, or a command fails.
pub async fn run(times: u32, span: Duration) -> Result<Overload, Failure> {
    let bound = format!("limits.publish_bytes_in_flight_max={FITS_BYTES}");
    let cluster = Cluster::start_with(&["--set", &bound]).await?;
    for topic in ["backlog", "flood"] {
        setup::create_topic(&cluster, topic, 8).await?;
    }
    let backlog = load::Load { size: BODY_BYTES, in_flight: 1024, duration: span / 4 };
    load::run(&cluster, "backlog", backlog).await?;
    let at_rest = acknowledge(&cluster, "at-rest", span).await?;

    let (producers, in_flight) = (times * (FITS_BYTES / PRODUCER_BYTES), times * (FITS_BYTES / BODY_BYTES));
    let (producers, in_flight, size) = (producers.to_string(), in_flight.to_string(), BODY_BYTES.to_string());
    let duration = format!("{}ms", (span + Duration::from_secs(2)).as_millis());
    let call = ["bench", "publish", "--topic", "flood", "--size", &size, "--in-flight", &in_flight];
    let more = ["--producers", &producers, "--duration", &duration, "-o", "json"];
    let flood = Running::start(&cluster.endpoints(), &[&call[..], &more[..]].concat())?;
    // Until the connections stand and the line is full.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let overloaded = acknowledge(&cluster, "overloaded", span).await?;
    // What is not stored in time fails; that is no fault here.
    let output = flood.finish_somehow(span + OVERTIME).await?;
    let published = serde_json::from_str(&output).doing(|| format!("figures of tercet bench in {output:?}"))?;
    Ok(Overload { at_rest, overloaded, published, refused: refused(&cluster).await? })
}

/// Publish requests that all nodes have refused with 42900.
async fn refused(cluster: &Cluster) -> Result<f64, Failure> {
    let mut sum = 0.0;
    for node in cluster.nodes() {
        let (_, text) = http::get(node.http(), "/metrics").await?;
        let counts = text.lines().filter(|line| {
            let of_sends = line.starts_with("rocketmq_rpc_latency_count{") && line.contains("rpc=\"SendMessage\"");
            of_sends && line.contains("code=\"42900\"")
        });
        sum += counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(sum)
}

/// What the receivers of a group share.
#[derive(Default)]
struct Shared {
    seen: Mutex<BTreeSet<(u32, u64)>>,
    doubled: AtomicU32,
    failed: AtomicU32,
}

async fn acknowledge(cluster: &Cluster, group: &str, span: Duration) -> Result<Acknowledgements, Failure> {
    setup::create_group(cluster, group).await?;
    let client = Client::connect(&cluster.endpoints()).doing(|| "client".to_owned())?;
    let shared = Arc::new(Shared::default());
    let mut receivers = JoinSet::new();
    for _ in 0..RECEIVERS {
        let options = ConsumerOptions::new().invisible_duration(INVISIBLE).prefetch_messages(MESSAGES_AT_ONCE);
        let consumer = client.consumer(group, ["backlog"], options).doing(|| "consumer".to_owned())?;
        receivers.spawn(receive(Arc::new(consumer), Arc::clone(&shared), span));
    }
    let mut millis = Vec::new();
    while let Some(one) = receivers.join_next().await {
        millis.extend(one.doing(|| "a receiver".to_owned())?);
    }
    millis.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (millis.len() as f64 * share) as usize;
        millis.get(place).or(millis.last()).copied().unwrap_or(f64::NAN)
    };
    Ok(Acknowledgements {
        count: millis.len(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        max_ms: at(1.0),
        failed: shared.failed.load(Ordering::Relaxed),
        doubled: shared.doubled.load(Ordering::Relaxed),
    })
}

/// Answers the milliseconds from each acknowledgement's call to its answer.
async fn receive(consumer: Arc<Consumer>, shared: Arc<Shared>, span: Duration) -> Vec<f64> {
    let (begun, mut millis) = (Instant::now(), Vec::new());
    let (mut pace, mut acks) = (tokio::time::interval(PACE), JoinSet::new());
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while begun.elapsed() < span {
        pace.tick().await;
        let left = span.saturating_sub(begun.elapsed());
        let Ok(Ok(messages)) = tokio::time::timeout(left, consumer.receive()).await else { continue };
        for message in messages {
            let new = shared.seen.lock().await.insert((message.queue(), message.offset()));
            if !new || message.attempt() > 1 {
                shared.doubled.fetch_add(1, Ordering::Relaxed);
            }
            let (consumer, shared) = (Arc::clone(&consumer), Arc::clone(&shared));
            acks.spawn(async move {
                let called = Instant::now();
                if consumer.ack(&message).await.is_err() {
                    shared.failed.fetch_add(1, Ordering::Relaxed);
                }
                called.elapsed().as_secs_f64() * 1e3
            });
        }
        while let Some(ended) = acks.try_join_next() {
            millis.push(ended.expect("an acknowledgement does not panic"));
        }
    }
    while let Some(ended) = acks.join_next().await {
        millis.push(ended.expect("an acknowledgement does not panic"));
    }
    millis
}
