//! `make bench-unary`: what a call costs the leader, as official clients make them: a SendMessage for each message, and a
//! receive and an acknowledgement for 32.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use jepsen_tests::{
    cluster::Cluster,
    failure::Failure,
    measure::{figures::median, unary},
    setup,
};

const TOPIC: &str = "unary";
const QUEUES: u32 = 16;

/// Measures the leader's processor time for each message that unary calls publish and consume.
#[derive(Debug, Parser)]
struct Args {
    /// Callers, each with one call at a time
    #[arg(long, default_value_t = 256)]
    callers: usize,
    /// Bytes of a body
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// How long each run measures, in seconds; consumers get half of it
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// Runs of each kind
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Microseconds for a publish that pass
    #[arg(long, default_value_t = 22.0)]
    send_us_max: f64,
    /// Microseconds for a message received and acknowledged that pass
    #[arg(long, default_value_t = 12.0)]
    consume_us_max: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("unary: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<bool, Failure> {
    let span = Duration::from_secs(args.seconds);
    let cluster = Cluster::start().await?;
    setup::create_topic(&cluster, TOPIC, QUEUES).await?;
    println!("{} callers, bodies of {} bytes", args.callers, args.size);
    println!("| published a second | leader us each | received and acknowledged a second | leader us each |");
    println!("|---|---|---|---|");
    let (mut sends, mut consumes) = (Vec::new(), Vec::new());
    for run in 0..args.runs {
        let sent = unary::send(&cluster, TOPIC, args.size, args.callers, span).await?;
        // A group of its own, which begins at the first message: there is always enough to receive.
        let consumed = unary::consume(&cluster, TOPIC, &format!("unary-{run}"), args.callers / 4, span / 2).await?;
        let figures = [sent.rate(), sent.micros_each(), consumed.rate(), consumed.micros_each()];
        println!("| {:.0} | {:.1} | {:.0} | {:.1} |", figures[0], figures[1], figures[2], figures[3]);
        sends.push(figures[1]);
        consumes.push(figures[3]);
    }
    let (send, consume) = (median(sends), median(consumes));
    println!("the leader spends {send:.1} us for a publish, {consume:.1} us for a message received and acknowledged");
    Ok(send <= args.send_us_max && consume <= args.consume_us_max)
}
