//! `make bench`: what a group of three nodes reaches on this machine, at rest and under load. With the variable CEILING it
//! is compared with a yardstick, run by run, because disks and neighbours change from minute to minute.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use jepsen_tests::{
    cluster::Cluster,
    failure::{Doing, Failure},
    measure::{
        idle,
        load::{self, Load},
        overload,
        report::{Comparison, Report, Row},
        yardstick,
    },
    setup,
};

const TOPIC: &str = "bench";
const QUEUES: u32 = 8;
const SIZES: [u32; 3] = [100, 1024, 64 << 10];
const IN_FLIGHT: [u32; 4] = [1, 256, 1024, 4096];
/// Acknowledgements under overload: the 99th percentile in milliseconds that passes.
const ACK_P99_MS_MAX: f64 = 50.0;
/// Interleaved runs beside the yardstick.
const RUNS: usize = 5;
/// After the start, before the nodes count as being at rest.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures rates and latencies of three nodes on this machine.
#[derive(Debug, Parser)]
struct Args {
    /// How long each run measures, in seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How long the nodes are watched at rest, in seconds
    #[arg(long, default_value_t = 10)]
    idle_seconds: u64,
    /// Program to compare with: called as PROGRAM raft --conc N --size BYTES
    #[arg(long, env = "CEILING")]
    ceiling: Option<PathBuf>,
    /// Leave out the table of sizes
    #[arg(long)]
    no_table: bool,
    /// Measure only what acknowledgements take while this many times as much is published as fits
    #[arg(long, value_name = "TIMES", num_args = 0..=1, default_missing_value = "16")]
    overload: Option<u32>,
    /// Folder for report.md and report.json [default: beside the compiled programs]
    #[arg(long)]
    out: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(times) = args.overload {
        return overloaded(times, Duration::from_secs(args.seconds)).await;
    }
    let mut report = Report::default();
    let measured = measure(&args, &mut report).await;
    // What was measured before a failure is worth having too.
    let written = write(&args, &report);
    match measured.and(written) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Publishing is overloaded by so much; succeeds if no acknowledgement suffers from it.
async fn overloaded(times: u32, span: Duration) -> ExitCode {
    match overload::run(times, span).await {
        Ok(found) => {
            println!("{times} times as much published as fits, for {span:?}:\n{}", found.markdown());
            let acks = found.overloaded;
            let well = acks.p99_ms <= ACK_P99_MS_MAX && acks.doubled == 0 && acks.failed == 0;
            if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let duration = Duration::from_secs(args.seconds);
    {
        let cluster = start("sync").await?;
        tokio::time::sleep(SETTLE).await;
        report.idle = idle::watch(&cluster, Duration::from_secs(args.idle_seconds)).await?;
        if let Some(program) = &args.ceiling {
            for in_flight in [1024, 256, 1] {
                let load = Load { size: 1024, in_flight, duration };
                report.comparisons.push(compare(&cluster, program, load).await?);
            }
        }
    }
    if args.no_table {
        return Ok(());
    }
    for durability in ["sync", "async"] {
        for size in SIZES {
            // A new group for each size: nothing is ever deleted from one, and the disk is finite.
            let cluster = start(durability).await?;
            for in_flight in IN_FLIGHT {
                let figures = load::run(&cluster, TOPIC, Load { size, in_flight, duration }).await?;
                let row = Row { durability: durability.to_owned(), size, in_flight, figures };
                eprintln!("{}", row.markdown());
                report.table.push(row);
            }
        }
    }
    Ok(())
}

async fn start(durability: &str) -> Result<Cluster, Failure> {
    let cluster = Cluster::start_with(&["--set", &format!("storage.durability={durability}")]).await?;
    setup::create_topic(&cluster, TOPIC, QUEUES).await?;
    Ok(cluster)
}

/// Runs of ours and of the yardstick in turns. The group is at rest while the yardstick runs.
async fn compare(cluster: &Cluster, program: &Path, load: Load) -> Result<Comparison, Failure> {
    let mut comparison =
        Comparison { size: load.size, in_flight: load.in_flight, ours: Vec::new(), yardstick: Vec::new() };
    // The first run finds cold caches and unsized buffers; it does not count.
    load::run(cluster, TOPIC, Load { duration: Duration::from_secs(1), ..load }).await?;
    for run in 1..=RUNS {
        let ours = load::run(cluster, TOPIC, load).await?;
        let reached = yardstick::run(program, load, cluster.folder())?;
        eprintln!(
            "{} in flight, run {run}: {:.0}/s, p50 {} us; yardstick {:.0}/s, p50 {:.0} us",
            load.in_flight, ours.rate, ours.p50_us, reached.rate, reached.p50_us
        );
        comparison.ours.push(ours);
        comparison.yardstick.push(reached);
    }
    Ok(comparison)
}

fn write(args: &Args, report: &Report) -> Result<(), Failure> {
    let folder = match &args.out {
        Some(folder) => folder.clone(),
        None => {
            let own = std::env::current_exe().doing(|| "the running program's own path".to_owned())?;
            own.parent().expect("a program is in a folder").join("bench-results")
        }
    };
    let text = report.markdown();
    println!("{text}");
    let json = serde_json::to_string_pretty(report).doing(|| "the report as JSON".to_owned())?;
    fs::create_dir_all(&folder).doing(|| format!("make {}", folder.display()))?;
    for (name, content) in [("report.md", text), ("report.json", json)] {
        let path = folder.join(name);
        fs::write(&path, content).doing(|| format!("write {}", path.display()))?;
        println!("Written: {}", path.display());
    }
    Ok(())
}
