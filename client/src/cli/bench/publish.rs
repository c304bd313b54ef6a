//! `tercet bench publish`: a closed loop with a number of messages in flight, or an open loop on a schedule.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tercet_client::{Client, Message, Outcome, Producer, ProducerOptions};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use super::{
    report::{Recorder, Report},
    share::share,
    stamp,
};
use crate::cli::args::BenchPublish;

/// The schedule of an open loop is kept to within this.
const SCHEDULE_STEP: Duration = Duration::from_millis(1);

/// How one producer is driven.
#[derive(Clone, Copy)]
enum Loop {
    /// This many messages in flight.
    Closed(u32),
    /// This many messages a second, the first one after `offset` messages' share of the interval.
    Open { rate: f64, offset: f64 },
}

pub(super) async fn run(
    connect: &dyn Fn() -> Result<Client, Box<dyn std::error::Error>>,
    bench: BenchPublish,
) -> Result<Report, Box<dyn std::error::Error>> {
    let body = Bytes::from_iter((0..bench.size).map(|at| b' ' + u8::try_from(at % 95).expect("below 95")));
    let message = Message::builder(bench.topic.name()).body(body).build()?;
    let count = bench.producers.min(bench.rate.unwrap_or(bench.in_flight)).max(1);
    let mut producers = Vec::new();
    for _ in 0..count {
        let producer = connect()?.producer(ProducerOptions::default())?;
        // The connection and the route are made before the clock starts.
        producer.send(message.clone()).await.stored()?;
        producers.push(producer);
    }
    let started = Instant::now();
    let mut running = JoinSet::new();
    for (part, producer) in (0..count).zip(producers) {
        let drive = match bench.rate {
            None => Loop::Closed(share(bench.in_flight, count, part)),
            Some(rate) => {
                Loop::Open { rate: f64::from(rate) / f64::from(count), offset: f64::from(part) / f64::from(count) }
            }
        };
        running.spawn(one_producer(producer, message.clone(), drive, started, bench.duration));
    }
    let mut all = Recorder::new();
    let mut last = started;
    while let Some(part) = running.join_next().await {
        let (recorder, ended) = part?;
        all.add(&recorder);
        last = last.max(ended);
    }
    Ok(all.report_of_messages(u64::from(bench.size), last - started))
}

/// What the callbacks of one producer share.
struct Shared {
    recorder: Mutex<(Recorder, Instant)>,
    room: Semaphore,
}

impl Shared {
    fn ended(&self, outcome: &Outcome, since: Instant) {
        let now = Instant::now();
        let mut recorder = self.recorder.lock().expect("no holder of this lock panics");
        match outcome {
            Outcome::Stored(_) => {
                recorder.0.succeeded(now - since);
                recorder.1 = now;
            }
            Outcome::Refused(refused) => recorder.0.failed(|| format!("not stored: {refused}")),
            Outcome::Unknown(unknown) => recorder.0.failed(|| format!("unknown whether stored: {unknown}")),
        }
        drop(recorder);
        self.room.add_permits(1);
    }
}

/// Sends until the time is up, then waits for the outcomes; returns when the last message was stored.
async fn one_producer(
    producer: Producer,
    message: Message,
    drive: Loop,
    started: Instant,
    duration: Duration,
) -> (Recorder, Instant) {
    let room = match drive {
        Loop::Closed(in_flight) => in_flight as usize,
        Loop::Open { .. } => Semaphore::MAX_PERMITS / 2,
    };
    let shared = Arc::new(Shared { recorder: Mutex::new((Recorder::new(), started)), room: Semaphore::new(room) });
    let end = started + duration;
    match drive {
        Loop::Closed(_) => loop {
            let permit = shared.room.acquire().await.expect("the room is never closed");
            permit.forget();
            let now = Instant::now();
            if now >= end {
                break;
            }
            send(&producer, &message, &shared, now).await;
        },
        Loop::Open { rate, offset } => {
            let mut next = started + Duration::from_secs_f64(offset / rate);
            let mut sent: u64 = 0;
            while next < end {
                if next > Instant::now() {
                    tokio::time::sleep(SCHEDULE_STEP).await;
                    continue;
                }
                // Late or not: latency counts from the time at which it should have been sent.
                let body = stamp::stamped(message.body(), next.elapsed());
                let stamped = message.with_body(body).expect("it is as long as the one that it replaces");
                send(&producer, &stamped, &shared, next).await;
                sent += 1;
                next = started + Duration::from_secs_f64((sent as f64 + offset) / rate);
            }
        }
    }
    producer.close().await;
    let (recorder, last) = shared.recorder.lock().expect("no holder of this lock panics").clone();
    (recorder, last)
}

async fn send(producer: &Producer, message: &Message, shared: &Arc<Shared>, since: Instant) {
    let shared = Arc::clone(shared);
    producer.send_with(message.clone(), move |outcome| shared.ended(&outcome, since)).await;
}
