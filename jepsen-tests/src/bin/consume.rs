//! `make bench-consume`: how fast a consumer group works through a backlog, how fast it follows publishers, and how long a waiting
//! consumer waits for a message.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use jepsen_tests::{
    cluster::Cluster,
    failure::Failure,
    measure::{consume, figures::median},
};

const BACKLOG: &str = "backlog";

/// Measures consumption over the stream of the Rust client, acknowledged.
#[derive(Debug, Parser)]
struct Args {
    /// How long each run measures, in seconds
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How long the backlog is published, in seconds
    #[arg(long, default_value_t = 12)]
    backlog_seconds: u64,
    /// Runs of each kind
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Messages a second through a backlog that pass
    #[arg(long, default_value_t = 120_000.0)]
    drain_min: f64,
    /// Messages a second, both published and consumed, that pass
    #[arg(long, default_value_t = 70_000.0)]
    both_min: f64,
    /// Milliseconds from publishing to delivery that pass: half of them
    #[arg(long, default_value_t = 2.5)]
    waiting_p50_ms_max: f64,
    /// The same for 99 of 100
    #[arg(long, default_value_t = 10.0)]
    waiting_p99_ms_max: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("consume: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<bool, Failure> {
    let (span, runs) = (Duration::from_secs(args.seconds), args.runs);
    let cluster = Cluster::start().await?;
    let backlog = consume::backlog(&cluster, BACKLOG, Duration::from_secs(args.backlog_seconds)).await?;
    println!("bodies of 1 KiB; a backlog of {:.0} messages", backlog.rate * args.backlog_seconds as f64);
    println!("| drained a second | both: published | and consumed | waiting: p50 ms | p99 ms |");
    println!("|---|---|---|---|---|");
    let mut found: [Vec<f64>; 5] = Default::default();
    for run in 0..runs {
        let drained = consume::drain(&cluster, BACKLOG, &format!("drain-{run}"), span).await?;
        let both = consume::both_at_once(&cluster, &format!("both-{run}"), span).await?;
        let waiting = consume::waiting(&cluster, &format!("waiting-{run}"), span).await?;
        let millis = |micros: u64| micros as f64 / 1e3;
        let (published, consumed) = (both.published.rate, both.consumed.rate);
        let figures = [drained.rate, published, consumed, millis(waiting.p50_us), millis(waiting.p99_us)];
        let [drained, published, consumed, p50, p99] = figures;
        println!("| {drained:.0} | {published:.0} | {consumed:.0} | {p50:.2} | {p99:.2} |");
        found.iter_mut().zip(figures).for_each(|(all, one)| all.push(one));
    }
    let [drained, published, consumed, p50, p99] = found.map(median);
    println!("medians: {drained:.0}/s drained, {published:.0}/s published and {consumed:.0}/s consumed at once");
    println!("medians: a message is there {p50:.2} ms after it was to be published (p99 {p99:.2} ms)");
    let fast = drained >= args.drain_min && published.min(consumed) >= args.both_min;
    Ok(fast && p50 <= args.waiting_p50_ms_max && p99 <= args.waiting_p99_ms_max)
}
