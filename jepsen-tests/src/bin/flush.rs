//! `make bench-flush`: what persisting the state adds to the latency of publishing.
//!
//! An open loop publishes at half of the maximum rate, in turns to a group that flushes its state and makes checkpoints
//! as it does by default, only with smaller segments so that there are many checkpoints, and to one that does neither
//! while it is measured.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use jepsen_tests::{
    cluster::Cluster,
    failure::{Doing, Failure},
    http,
    measure::{
        figures::median,
        load::{self, Load},
        open_loop::{self, Latencies},
    },
    setup,
};

const TOPIC: &str = "flush";
const QUEUES: u32 = 8;
/// The first messages find cold caches and unsized buffers.
const WARM_UP: Duration = Duration::from_secs(2);
/// Checkpoints come with full segments.
const WITH: [&str; 2] = ["--set", "storage.segment_bytes_max=128MiB"];
const WITHOUT: [&str; 8] = [
    "--set",
    "storage.segment_bytes_max=4GiB",
    "--set",
    "storage.flush_log_bytes=1TiB",
    "--set",
    "storage.flush_messages=1000000000000",
    "--set",
    "storage.flush_memory_bytes=2GiB",
];

/// Compares the publish p99 with and without flushes and checkpoints of the state.
#[derive(Debug, Parser)]
struct Args {
    /// How long each run measures, in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Runs of each kind, in turns
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Bytes of a body
    #[arg(long, default_value_t = 100)]
    size: u32,
    /// Messages a second [default: half of what a closed loop reaches first]
    #[arg(long)]
    rate: Option<f64>,
    /// How many times the p99 of a run without flushes may be reached
    #[arg(long, default_value_t = 1.3)]
    ratio_max: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match measure(&args).await {
        Ok(ratio) if ratio <= args.ratio_max => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("The measurement could not be carried out: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The p99 with flushes over that without, medians of all runs.
async fn measure(args: &Args) -> Result<f64, Failure> {
    let rate = match args.rate {
        Some(rate) => rate,
        None => max_rate(args).await? / 2.0,
    };
    println!("open loop at {rate:.0} messages/s of {} bytes, {} s a run", args.size, args.seconds);
    println!("| flushes | state flushes on all nodes | p50 ms | p99 ms | p99.9 ms | max ms | not stored |");
    println!("|---|---|---|---|---|---|---|");
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..args.runs {
        for (name, settings, p99s) in [("with", &WITH[..], &mut with), ("without", &WITHOUT[..], &mut without)] {
            let run = run(args, rate, settings).await?;
            println!("| {name} | {} |", run.columns());
            p99s.push(run.latencies.at(0.99));
        }
    }
    let (with, without) = (median(with), median(without));
    let ratio = with / without;
    println!("p99, medians of {}: {with:.2} ms with, {without:.2} ms without: {ratio:.2} times", args.runs);
    Ok(ratio)
}

async fn start(settings: &[&str]) -> Result<Cluster, Failure> {
    let cluster = Cluster::start_with(settings).await?;
    setup::create_topic(&cluster, TOPIC, QUEUES).await?;
    Ok(cluster)
}

async fn max_rate(args: &Args) -> Result<f64, Failure> {
    let cluster = start(&WITHOUT).await?;
    let load = Load { size: args.size, in_flight: 4096, duration: Duration::from_secs(5) };
    load::run(&cluster, TOPIC, Load { duration: Duration::from_secs(1), ..load }).await?;
    Ok(load::run(&cluster, TOPIC, load).await?.rate)
}

/// What one run found.
struct Run {
    latencies: Latencies,
    flushes: f64,
}

impl Run {
    fn columns(&self) -> String {
        let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|share| self.latencies.at(share));
        format!("{:.0} | {p50:.2} | {p99:.2} | {p999:.2} | {max:.1} | {}", self.flushes, self.latencies.failed)
    }
}

async fn run(args: &Args, rate: f64, settings: &[&str]) -> Result<Run, Failure> {
    let cluster = start(settings).await?;
    let size = usize::try_from(args.size).doing(|| "a body's size".to_owned())?;
    open_loop::publish(&cluster, TOPIC, rate, size, WARM_UP).await?;
    let before = flushes(&cluster).await?;
    let latencies = open_loop::publish(&cluster, TOPIC, rate, size, Duration::from_secs(args.seconds)).await?;
    Ok(Run { latencies, flushes: flushes(&cluster).await? - before })
}

async fn flushes(cluster: &Cluster) -> Result<f64, Failure> {
    let mut sum = 0.0;
    for node in cluster.nodes() {
        sum += http::metric(node.http(), "tercet_state_flushes_total").await?;
    }
    Ok(sum)
}
