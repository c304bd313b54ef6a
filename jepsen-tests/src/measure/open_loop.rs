//! An open loop: messages are published when they are due, whatever became of those before.

use std::time::{Duration, Instant};

use tercet_client::{Client, Message, Outcome, Producer, ProducerOptions};
use tokio::{task::JoinSet, time::MissedTickBehavior};

use crate::{
    cluster::Cluster,
    failure::{Doing, Failure},
};

/// How often the loop looks at what is due; the wait for it counts as latency.
const BEAT: Duration = Duration::from_millis(1);
/// Publishers beside each other, each with its share of the rate.
const PRODUCERS: u32 = 4;

/// Latencies of messages, counted from when each was due.
#[derive(Debug, Clone, PartialEq)]
pub struct Latencies {
    /// In milliseconds, ascending.
    pub millis: Vec<f64>,
    /// Messages that were not stored.
    pub failed: usize,
}

impl Latencies {
    /// The latency, in milliseconds, that this share of the messages did not exceed; not a number if there are none.
    #[must_use]
    pub fn at(&self, share: f64) -> f64 {
        let place = (self.millis.len() as f64 * share) as usize;
        self.millis.get(place).or(self.millis.last()).copied().unwrap_or(f64::NAN)
    }
}

/// Publishes `rate` messages a second of `size` bytes to `topic` for `span`, and waits for their outcomes.
///
/// # Errors
/// If there is no client, or a publisher panics.
pub async fn publish(
    cluster: &Cluster,
    topic: &'static str,
    rate: f64,
    size: usize,
    span: Duration,
) -> Result<Latencies, Failure> {
    let mut publishers = JoinSet::new();
    for _ in 0..PRODUCERS {
        let client = Client::connect(&cluster.endpoints()).doing(|| "client".to_owned())?;
        let producer = client.producer(ProducerOptions::default()).doing(|| "producer".to_owned())?;
        publishers.spawn(publisher(producer, topic, rate / f64::from(PRODUCERS), size, span));
    }
    let (mut millis, mut failed) = (Vec::new(), 0);
    while let Some(one) = publishers.join_next().await {
        for latency in one.doing(|| "a publisher".to_owned())? {
            match latency {
                Some(latency) => millis.push(latency),
                None => failed += 1,
            }
        }
    }
    millis.sort_unstable_by(f64::total_cmp);
    Ok(Latencies { millis, failed })
}

/// An open loop: what is due is sent, whatever became of what was sent before.
async fn publisher(
    producer: Producer,
    topic: &'static str,
    rate: f64,
    size: usize,
    span: Duration,
) -> Vec<Option<f64>> {
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut waiting, mut latencies) = (JoinSet::new(), Vec::new());
    let (begun, mut sent) = (Instant::now(), 0_u64);
    while begun.elapsed() < span {
        beats.tick().await;
        let due_now = (begun.elapsed().as_secs_f64() * rate) as u64;
        while sent < due_now {
            let due = begun + Duration::from_secs_f64(sent as f64 / rate);
            let message = Message::builder(topic).body(vec![b'x'; size]).build().expect("a legal message");
            let pending = producer.enqueue(message).await;
            waiting.spawn(async move {
                let stored = matches!(pending.await, Outcome::Stored(_));
                stored.then(|| due.elapsed().as_secs_f64() * 1e3)
            });
            sent += 1;
        }
        while let Some(ended) = waiting.try_join_next() {
            latencies.push(ended.expect("waiting does not panic"));
        }
    }
    while let Some(ended) = waiting.join_next().await {
        latencies.push(ended.expect("waiting does not panic"));
    }
    latencies
}
