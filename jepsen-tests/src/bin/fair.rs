//! `make bench-fair`: what consumers take from each other and from publishers.
//!
//! - *drain*: the publish p99 of an open loop, alone and while another group drains a cold backlog.
//! - *burst*: very many receivers wait, and a burst of messages comes: how long until all of it is delivered.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use jepsen_tests::{
    cluster::Cluster,
    command::Running,
    failure::{Doing, Failure},
    http,
    measure::{
        figures::{Figures, median},
        load::{self, Load},
        open_loop, waiters,
    },
    setup, wait,
};
use tercet_client::{Client, Message, Outcome, ProducerOptions};

const SIZE: u32 = 1024;
const BACKLOG_QUEUES: u32 = 16;
const LIVE_QUEUES: u32 = 8;
const WARM_UP: Duration = Duration::from_secs(2);
/// For what is asked of a process beyond the time that it measures.
const OVERTIME: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Drain,
    Burst,
}

/// Measures what consumers take from each other and from publishers.
#[derive(Debug, Parser)]
struct Args {
    /// What to measure [default: both]
    parts: Vec<Part>,
    /// Backlog that is drained, in GiB: a node and its followers keep three times as much
    #[arg(long, default_value_t = 2)]
    gib: u64,
    /// Messages a second of the open loop
    #[arg(long, default_value_t = 5000.0)]
    rate: f64,
    /// How long each run of the open loop measures, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Receivers that wait
    #[arg(long, default_value_t = 10_000)]
    receivers: usize,
    /// Messages of a burst
    #[arg(long, default_value_t = 32_000)]
    burst: usize,
    /// Runs of each kind
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How many times the p99 without a drain may be reached
    #[arg(long, default_value_t = 1.5)]
    ratio_max: f64,
    /// Milliseconds after the last message of a burst is stored within which all are delivered
    #[arg(long, default_value_t = 300.0)]
    burst_ms_max: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let wanted = |part| args.parts.is_empty() || args.parts.contains(&part);
    let mut good = true;
    for (part, name) in [(Part::Drain, "drain"), (Part::Burst, "burst")] {
        if !wanted(part) {
            continue;
        }
        let found = match part {
            Part::Drain => drain(&args).await,
            Part::Burst => burst(&args).await,
        };
        match found {
            Ok(within) => good &= within,
            Err(failure) => {
                eprintln!("{name} could not be measured: {failure}");
                good = false;
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn drain(args: &Args) -> Result<bool, Failure> {
    let span = Duration::from_secs(args.seconds);
    let cluster = Cluster::start().await?;
    setup::create_topic(&cluster, "backlog", BACKLOG_QUEUES).await?;
    setup::create_topic(&cluster, "live", LIVE_QUEUES).await?;
    let stored = fill(&cluster, args.gib << 30).await?;
    println!("drain: {stored} messages of {SIZE} bytes wait; open loop at {:.0}/s, {span:?} a run", args.rate);
    println!("| backlog | p50 ms | p99 ms | p99.9 ms | max ms | not stored | drained a second |");
    println!("|---|---|---|---|---|---|---|");
    open_loop::publish(&cluster, "live", args.rate, SIZE as usize, WARM_UP).await?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for run in 0..args.runs {
        for drains in [false, true] {
            // A group of its own for each run: all of it is cold for everybody but the page cache of the system.
            let group = format!("drain-{run}");
            let duration = format!("{}ms", span.as_millis());
            let call = ["bench", "consume", "--topic", "backlog", "--group", &group, "--duration", &duration];
            let more = ["--in-flight", "8192", "--consumers", "4", "-o", "json"];
            let drainer = drains.then(|| Running::start(&cluster.endpoints(), &[&call[..], &more[..]].concat()));
            let found = open_loop::publish(&cluster, "live", args.rate, SIZE as usize, span).await?;
            let drained = match drainer {
                Some(drainer) => {
                    let output = drainer?.finish(OVERTIME).await?;
                    let figures: Figures =
                        serde_json::from_str(&output).doing(|| format!("figures of tercet bench in {output:?}"))?;
                    figures.rate
                }
                None => 0.0,
            };
            let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|share| found.at(share));
            let name = if drains { "is drained" } else { "lies" };
            println!("| {name} | {p50:.2} | {p99:.2} | {p999:.2} | {max:.1} | {} | {drained:.0} |", found.failed);
            if drains { beside.push(p99) } else { alone.push(p99) }
        }
    }
    let (alone, beside) = (median(alone), median(beside));
    let ratio = beside / alone;
    println!("p99, medians of {}: {beside:.2} ms beside a drain, {alone:.2} ms without: {ratio:.2} times", args.runs);
    Ok(ratio <= args.ratio_max)
}

/// Publishes so many bytes of bodies; answers how many messages.
async fn fill(cluster: &Cluster, bytes: u64) -> Result<u64, Failure> {
    let (mut stored, slice) = (0, Duration::from_secs(5));
    while stored * u64::from(SIZE) < bytes {
        let found = load::run(cluster, "backlog", Load { size: SIZE, in_flight: 4096, duration: slice }).await?;
        stored += (found.rate * slice.as_secs_f64()) as u64;
    }
    Ok(stored)
}

async fn burst(args: &Args) -> Result<bool, Failure> {
    println!("burst: {} receivers wait for {} messages of {SIZE} bytes", args.receivers, args.burst);
    println!("| stored after ms | delivered after ms | after the last was stored, ms |");
    println!("|---|---|---|");
    let cluster = Cluster::start().await?;
    let leader = cluster.node(cluster.leader().await?);
    let mut lags = Vec::new();
    for run in 0..args.runs {
        // Of its own for each run: nothing is there when the receivers come.
        let topic = format!("burst-{run}");
        setup::create_topic(&cluster, &topic, BACKLOG_QUEUES).await?;
        let mut waiting = waiters::start(leader.client(), &topic, &topic, args.receivers).await?;
        let all = async || {
            let parked = http::metric(leader.http(), "tercet_parked_receives").await.ok()?;
            (parked >= args.receivers as f64).then_some(())
        };
        wait::until("all receivers to wait", OVERTIME, all).await?;
        let begun = Instant::now();
        let stored = publish(&cluster, &topic, args.burst).await?;
        let delivered = waiting.received(args.burst, OVERTIME).await?;
        let millis = |at: Instant| at.saturating_duration_since(begun).as_secs_f64() * 1e3;
        let lag = delivered.saturating_duration_since(stored).as_secs_f64() * 1e3;
        println!("| {:.0} | {:.0} | {lag:.0} |", millis(stored), millis(delivered));
        lags.push(lag);
    }
    let lag = median(lags);
    println!("all delivered {lag:.0} ms after the last was stored, median of {}", args.runs);
    Ok(lag <= args.burst_ms_max)
}

/// Publishes so many messages as fast as it goes; answers when the last was stored.
async fn publish(cluster: &Cluster, topic: &str, count: usize) -> Result<Instant, Failure> {
    let client = Client::connect(&cluster.endpoints()).doing(|| "client".to_owned())?;
    let producer = client.producer(ProducerOptions::default()).doing(|| "producer".to_owned())?;
    let mut pending = Vec::with_capacity(count);
    for _ in 0..count {
        let message = Message::builder(topic).body(vec![b'x'; SIZE as usize]).build().expect("a legal message");
        pending.push(producer.enqueue(message).await);
    }
    for one in pending {
        match one.await {
            Outcome::Stored(_) => {}
            other => return Err(Failure(format!("a message of the burst was not stored: {other:?}"))),
        }
    }
    Ok(Instant::now())
}
