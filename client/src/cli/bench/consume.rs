//! `tercet bench consume`: receives and acknowledges what is in the topic.

use std::{sync::Arc, time::Duration};

use tercet_client::{Client, ConsumerOptions, Error, GroupSettings, SimpleConsumer};
use tokio::{task::JoinSet, time::Instant};
use tonic::Code as GrpcCode;

use super::{
    report::{Recorder, Report},
    share,
};
use crate::cli::args::Bench;

/// Messages of one receive.
const BATCH: u32 = 32;

pub(super) async fn run(
    connect: &dyn Fn() -> Result<Client, Error>,
    bench: Bench,
) -> Result<Report, Box<dyn std::error::Error>> {
    match connect()?.admin().create_group(&bench.group, GroupSettings::default()).await {
        Ok(_) | Err(Error::Rpc { code: GrpcCode::AlreadyExists, .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let receives = bench.in_flight.div_ceil(BATCH);
    let count = bench.producers.min(receives);
    let started = Instant::now();
    let end = started + bench.duration;
    let mut running = JoinSet::new();
    for part in 0..count {
        let options = ConsumerOptions { long_poll: Duration::from_secs(5), ..ConsumerOptions::default() };
        let consumer = Arc::new(connect()?.simple_consumer(&bench.group, [&bench.topic], options)?);
        for _ in 0..share(receives, count, part) {
            running.spawn(receive(Arc::clone(&consumer), end));
        }
    }
    let (mut all, mut bytes, mut last) = (Recorder::new(), 0, started);
    while let Some(part) = running.join_next().await {
        let (recorder, moved, ended) = part?;
        all.add(&recorder);
        bytes += moved;
        last = last.max(ended.unwrap_or(started));
    }
    Ok(all.report(bytes, last - started))
}

/// Returns what was recorded, the bytes of the bodies, and when the last acknowledgement came.
async fn receive(consumer: Arc<SimpleConsumer>, end: Instant) -> (Recorder, u64, Option<Instant>) {
    let (mut recorder, mut bytes, mut last) = (Recorder::new(), 0, None);
    while Instant::now() < end {
        let asked = Instant::now();
        // A poll that finds nothing until the end is no failure.
        let Ok(received) = tokio::time::timeout_at(end, consumer.receive()).await else { break };
        let messages = match received {
            Ok(messages) => messages,
            Err(error) => {
                recorder.failed(|| error.to_string());
                if error.can_retry() {
                    continue;
                }
                break;
            }
        };
        if messages.is_empty() {
            continue;
        }
        match consumer.ack_all(&messages).await {
            Ok(()) => {
                let now = Instant::now();
                for message in &messages {
                    recorder.succeeded(now - asked);
                    bytes += message.body().len() as u64;
                }
                last = Some(now);
            }
            Err(error) => messages.iter().for_each(|_| recorder.failed(|| error.to_string())),
        }
    }
    (recorder, bytes, last)
}
