//! `make bench-calm`: whether a group under full load elects without cause.

use std::{
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool, atomic::AtomicU64, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use clap::Parser;
use jepsen_tests::{
    admin,
    failure::{Doing, Failure},
    hosts::{Hosts, until_stopped},
};
use tercet_client::{Client, Message, Outcome, Producer, ProducerOptions};
use tercet_proto::admin::v1::{CreateTopicRequest, TopicType};
use tokio::task::JoinSet;

const TOPIC: &str = "calm";
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Saturates a group of three real processes with publishers and counts its elections: there must be none.
#[derive(Debug, Parser)]
struct Args {
    /// How long
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// After this time the group begins anew with empty folders: at full rate a log fills any disk
    #[arg(long, default_value_t = 60)]
    round_seconds: u64,
    /// Messages in flight
    #[arg(long, default_value_t = 1024)]
    in_flight: usize,
    /// Length of a body in bytes
    #[arg(long, default_value_t = 256)]
    bytes: usize,
    /// So often a minute every connection between the nodes is reset, all at once
    #[arg(long, default_value_t = 0)]
    resets_per_minute: u32,
    /// A setting of all nodes over the defaults, as name=value
    #[arg(long = "set")]
    settings: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match until_stopped(run(&args)).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("The measurement could not be carried out: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The elections of all rounds.
async fn run(args: &Args) -> Result<u64, Failure> {
    let (mut total, mut left) = (Round::default(), Duration::from_secs_f64(args.minutes * 60.0));
    while !left.is_zero() {
        let span = left.min(Duration::from_secs(args.round_seconds));
        let round = load(args, span).await?;
        eprintln!("{} elections in {span:.0?}", round.elections);
        total.add(&round);
        left = left.saturating_sub(span);
    }
    let seconds = total.span.as_secs_f64();
    let cores = std::thread::available_parallelism().doing(|| "cores".to_owned())?.get() as f64;
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let busy = 100.0 * (1.0 - total.idle_ticks as f64 / ticks / seconds / cores);
    println!(
        "{seconds:.0} s at {:.0} messages/s of {} bytes, cores {busy:.0} % busy, all connections reset {} times: {} elections",
        total.stored as f64 / seconds,
        args.bytes,
        total.resets,
        total.elections
    );
    Ok(total.elections)
}

/// What a group under load did.
#[derive(Debug, Default)]
struct Round {
    elections: u64,
    resets: u64,
    stored: u64,
    idle_ticks: u64,
    span: Duration,
}

impl Round {
    fn add(&mut self, other: &Round) {
        self.elections += other.elections;
        self.resets += other.resets;
        self.stored += other.stored;
        self.idle_ticks += other.idle_ticks;
        self.span += other.span;
    }
}

/// A fresh group under load; its log is gone afterwards.
async fn load(args: &Args, span: Duration) -> Result<Round, Failure> {
    let hosts = Hosts::start(&args.settings).await?;
    let (leader, first_term) = hosts.leader().await?;
    let request = CreateTopicRequest { name: TOPIC.to_owned(), queues: 4, r#type: TopicType::Normal.into() };
    let answer = admin::connect(hosts.client(leader)).await?.create_topic(request).await;
    answer.doing(|| format!("create topic {TOPIC}"))?;
    let producer = Client::connect(&hosts.endpoints())
        .and_then(|client| client.producer(ProducerOptions::default()))
        .doing(|| "producer".to_owned())?;
    let (stop, stored) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut senders = JoinSet::new();
    for _ in 0..args.in_flight {
        senders.spawn(send(producer.clone(), args.bytes, Arc::clone(&stop), Arc::clone(&stored)));
    }
    let (begun, idle) = (Instant::now(), idle_ticks()?);
    let (mut term, mut resets) = (first_term, 0);
    while begun.elapsed() < span {
        tokio::time::sleep(LOOK_INTERVAL).await;
        if begun.elapsed().as_secs_f64() * f64::from(args.resets_per_minute) / 60.0 > resets as f64 + 1.0 {
            hosts.reset_connections()?;
            resets += 1;
        }
        for id in hosts.ids() {
            let Ok(status) = admin::node_status(hosts.client(id)).await else { continue };
            if status.term > term {
                eprintln!("after {:.0?}: node {id} is in term {}, was {term}", begun.elapsed(), status.term);
                term = status.term;
            }
        }
    }
    let (span, idle_ticks) = (begun.elapsed(), idle_ticks()? - idle);
    stop.store(true, Relaxed);
    while senders.join_next().await.is_some() {}
    Ok(Round { elections: term - first_term, resets, stored: stored.load(Relaxed), idle_ticks, span })
}

async fn send(producer: Producer, bytes: usize, stop: Arc<AtomicBool>, stored: Arc<AtomicU64>) {
    while !stop.load(Relaxed) {
        let message = Message::builder(TOPIC).body(vec![b'x'; bytes]).build().expect("a legal message");
        if matches!(producer.send(message).await, Outcome::Stored(_)) {
            stored.fetch_add(1, Relaxed);
        }
    }
}

/// Clock ticks that all cores together have been idle since the machine started.
fn idle_ticks() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/stat").doing(|| "read /proc/stat".to_owned())?;
    let line = text.lines().next().unwrap_or_default();
    // "cpu user nice system idle iowait ..."
    let fields: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    fields.get(3).copied().ok_or_else(|| Failure("/proc/stat lacks the idle time".to_owned()))
}
