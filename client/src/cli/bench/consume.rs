//! `tercet bench consume`: receives and acknowledges what is in the topic.

use std::{sync::Arc, time::Duration};

use tercet_client::{Client, Consumer, ConsumerOptions, Error, GroupSettings, ReceivedMessage, RpcCode};
use tokio::{task::JoinSet, time::Instant};

use super::{
    report::{Recorder, Report},
    share::share,
    stamp,
};
use crate::cli::args::BenchConsume;

/// Acknowledgements under way of one consumer; it goes on receiving meanwhile.
const ACKS_UNDER_WAY_MAX: usize = 16;

/// What one batch came to: its messages with their latency, or why it failed, and when that was.
type Acknowledged = (Vec<ReceivedMessage>, Vec<Duration>, Result<(), Error>, Instant);

pub(super) async fn run(
    connect: &dyn Fn() -> Result<Client, Box<dyn std::error::Error>>,
    bench: BenchConsume,
) -> Result<Report, Box<dyn std::error::Error>> {
    match connect()?.admin().create_group(&bench.group, GroupSettings::new()).await {
        Ok(_) | Err(Error::Rpc { code: RpcCode::AlreadyExists, .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let count = bench.consumers.min(bench.in_flight);
    let started = Instant::now();
    let end = started + bench.duration;
    let mut running = JoinSet::new();
    for part in 0..count {
        let prefetch_messages = u64::from(share(bench.in_flight, count, part)).min(16_384);
        let options = ConsumerOptions::new().prefetch_messages(prefetch_messages);
        let consumer = connect()?.consumer(&bench.group, [bench.topic.name()], options)?;
        running.spawn(consume(Arc::new(consumer), end));
    }
    let mut all = Tally::new(started);
    while let Some(part) = running.join_next().await {
        all.add(&part?);
    }
    Ok(all.recorder.report(all.bytes, all.last - started))
}

/// What was recorded, the bytes of the bodies, and when the last acknowledgement came.
struct Tally {
    recorder: Recorder,
    bytes: u64,
    last: Instant,
}

impl Tally {
    fn new(started: Instant) -> Self {
        Self { recorder: Recorder::new(), bytes: 0, last: started }
    }

    fn add(&mut self, other: &Self) {
        self.recorder.add(&other.recorder);
        self.bytes += other.bytes;
        self.last = self.last.max(other.last);
    }

    fn acknowledged(&mut self, (messages, latencies, result, at): Acknowledged, received: Option<Instant>) {
        match result {
            Ok(()) => {
                for (at_message, message) in messages.iter().enumerate() {
                    let since_received = received.map_or(Duration::ZERO, |received| at - received);
                    self.recorder.succeeded(latencies.get(at_message).copied().unwrap_or(since_received));
                    self.bytes += message.body().len() as u64;
                }
                self.last = self.last.max(at);
            }
            Err(error) => messages.iter().for_each(|_| self.recorder.failed(|| error.to_string())),
        }
    }
}

async fn consume(consumer: Arc<Consumer>, end: Instant) -> Tally {
    let mut tally = Tally::new(Instant::now());
    let mut acks = JoinSet::new();
    loop {
        while acks.len() >= ACKS_UNDER_WAY_MAX {
            settle(&mut tally, acks.join_next().await);
        }
        let received = tokio::select! {
            received = tokio::time::timeout_at(end, consumer.receive()) => received,
            acked = acks.join_next(), if !acks.is_empty() => {
                settle(&mut tally, acked);
                continue;
            }
        };
        // Waiting in vain until the end is no failure.
        let Ok(received) = received else { break };
        match received {
            Ok(messages) => {
                let at = Instant::now();
                // Of messages that say when they were sent, what counts is how long they took to come here.
                let latencies: Vec<Duration> = stamp::ages(messages.iter().map(|message| message.body()));
                let consumer = Arc::clone(&consumer);
                acks.spawn(async move {
                    let result = consumer.ack_all(&messages).await;
                    (at, (messages, latencies, result, Instant::now()))
                });
            }
            Err(error) => {
                tally.recorder.failed(|| error.to_string());
                if !error.can_retry() {
                    break;
                }
            }
        }
    }
    while let Some(acked) = acks.join_next().await {
        settle(&mut tally, Some(acked));
    }
    if let Some(consumer) = Arc::into_inner(consumer) {
        consumer.close().await;
    }
    tally
}

fn settle(tally: &mut Tally, acked: Option<Result<(Instant, Acknowledged), tokio::task::JoinError>>) {
    if let Some(Ok((received, acknowledged))) = acked {
        tally.acknowledged(acknowledged, Some(received));
    }
}
