//! `make bench-restart`: how long a node with a long log takes from the start of its process until it is ready.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use jepsen_tests::{
    admin,
    cluster::Cluster,
    failure::{Doing, Failure},
    gap, hosts, http, setup, wait,
};
use tercet_client::{Client, Message, Outcome, Producer, ProducerOptions};
use tokio::task::JoinSet;

const TOPIC: &str = "restart";
const NODES: u64 = 3;
/// What a node takes beside the log that is filled, a segment in use and one made ready: small messages and the state.
const BESIDE_BYTES: u64 = 1 << 30;
const LARGE_BYTES: usize = 1 << 20;
/// Of small messages before each restart of that kind. The state is flushed each 256 MiB, so several of these meet it at
/// all distances from its last flush.
const SMALL_ROUND_BYTES: u64 = 48 << 20;
const LARGE_IN_FLIGHT: usize = 32;
const SMALL_IN_FLIGHT: usize = 2048;
/// A restart that takes longer has failed.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Nothing of the log goes while it is measured.
const SETTINGS: [&str; 2] = ["retention.age=3650d", "retention.disk_high_water=100"];

/// Fills the log of a group of three real processes, then stops and starts a follower again and again.
#[derive(Debug, Parser)]
struct Args {
    /// Length of the log; each of the three nodes has one
    #[arg(long, default_value_t = 10)]
    gib: u64,
    /// Restarts of each kind
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The longest time to ready, in seconds
    #[arg(long, default_value_t = 3.0)]
    limit: f64,
    /// Length of the bodies where many small messages are to be applied again
    #[arg(long, default_value_t = 256)]
    small_bytes: usize,
    /// Length of a segment; what was not sealed is read when a log is opened
    #[arg(long, default_value_t = 1024)]
    segment_mib: u64,
    /// Where the nodes' folders are made, and removed at the end
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
}

/// How the node ends before it is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Clean,
    Killed,
    KilledCold,
    KilledUnflushed,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Killed, Kind::Clean, Kind::KilledCold, Kind::KilledUnflushed];

    fn name(self) -> &'static str {
        match self {
            Kind::Clean => "clean stop (SIGTERM)",
            Kind::Killed => "SIGKILL",
            Kind::KilledCold => "SIGKILL, log not in the page cache",
            Kind::KilledUnflushed => "SIGKILL after many small messages",
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match hosts::until_stopped(run(&args)).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("The measurement could not be carried out: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every restart was within the limit.
async fn run(args: &Args) -> Result<bool, Failure> {
    check_room(args)?;
    let segments = format!("storage.segment_bytes_max={}MiB", args.segment_mib);
    let settings: Vec<&str> = SETTINGS.into_iter().chain([&*segments]).flat_map(|setting| ["--set", setting]).collect();
    let mut cluster = Cluster::start_in(&args.dir, &settings).await?;
    setup::create_topic(&cluster, TOPIC, 4).await?;
    let begun = Instant::now();
    publish(&cluster, args.gib << 30, LARGE_BYTES, LARGE_IN_FLIGHT).await?;
    eprintln!("{} GiB are in the log after {:.0?}", args.gib, begun.elapsed());
    println!("From the start of the process until it is ready, with {} GiB of log:\n", args.gib);
    println!("| stopped by | restarts | median | worst |");
    println!("|---|---|---|---|");
    let limit = Duration::from_secs_f64(args.limit);
    let mut worst = Duration::ZERO;
    for kind in Kind::ALL {
        let mut times = Vec::new();
        for _ in 0..args.rounds {
            times.push(restart(&mut cluster, kind, args.small_bytes).await?);
        }
        let slowest = times.iter().copied().max().unwrap_or_default();
        println!(
            "| {} | {} | {:.2} s | {:.2} s |",
            kind.name(),
            times.len(),
            gap::median(&times).as_secs_f64(),
            slowest.as_secs_f64()
        );
        worst = worst.max(slowest);
    }
    let kept = worst <= limit;
    println!("\nlimit {:.1} s: {}", args.limit, if kept { "kept" } else { "BROKEN" });
    Ok(kept)
}

/// Refuses beforehand what would fill the disk.
fn check_room(args: &Args) -> Result<(), Failure> {
    let stat = rustix::fs::statvfs(&args.dir).doing(|| format!("look at {}", args.dir.display()))?;
    let free_gib = (stat.f_bavail * stat.f_frsize) >> 30;
    let needed_gib = (NODES * ((args.gib << 30) + 2 * (args.segment_mib << 20) + BESIDE_BYTES)).div_ceil(1 << 30);
    if free_gib >= needed_gib {
        return Ok(());
    }
    Err(Failure(format!(
        "three logs of {} GiB need {needed_gib} GiB of disk, and {} has {free_gib} GiB free; choose less (--gib), \
         smaller segments (--segment-mib) or another folder (--dir)",
        args.gib,
        args.dir.display()
    )))
}

/// Publishes bodies of `size` until `bytes` are stored.
async fn publish(cluster: &Cluster, bytes: u64, size: usize, in_flight: usize) -> Result<(), Failure> {
    let producer = Client::connect(&cluster.endpoints())
        .and_then(|client| client.producer(ProducerOptions::default()))
        .doing(|| "producer".to_owned())?;
    let left = Arc::new(AtomicU64::new(bytes.div_ceil(size as u64)));
    let mut senders = JoinSet::new();
    for _ in 0..in_flight {
        senders.spawn(send(producer.clone(), size, Arc::clone(&left)));
    }
    while let Some(sent) = senders.join_next().await {
        sent.doing(|| "sender".to_owned())??;
    }
    Ok(())
}

async fn send(producer: Producer, size: usize, left: Arc<AtomicU64>) -> Result<(), Failure> {
    while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
        let message = Message::builder(TOPIC).body(vec![b'x'; size]).build().doing(|| "message".to_owned())?;
        match producer.send(message).await {
            Outcome::Stored(_) => {}
            Outcome::Refused(refused) => return Err(Failure(format!("a message was refused: {refused}"))),
            Outcome::Unknown(unknown) => return Err(Failure(format!("the fate of a message is unknown: {unknown}"))),
        }
    }
    Ok(())
}

/// Stops and starts a follower: the time until it says that it is ready, and really holds and has applied everything.
async fn restart(cluster: &mut Cluster, kind: Kind, small_bytes: usize) -> Result<Duration, Failure> {
    if kind == Kind::KilledUnflushed {
        publish(cluster, SMALL_ROUND_BYTES, small_bytes, SMALL_IN_FLIGHT).await?;
    }
    let leader = cluster.leader().await?;
    let follower = cluster.nodes().iter().map(|node| node.id()).find(|id| *id != leader);
    let follower = follower.ok_or_else(|| Failure("the group has no follower".to_owned()))?;
    let target = cluster.caught_up(&[follower], READY_LIMIT).await?;
    let logs = cluster.data_folder(follower)?.join("log");
    let node = cluster.node_mut(follower);
    match kind {
        Kind::Clean => node.stop().await?,
        Kind::Killed | Kind::KilledUnflushed => node.kill().await?,
        Kind::KilledCold => {
            node.kill().await?;
            drop_cached_pages(&logs).doing(|| format!("drop the pages of {}", logs.display()))?;
        }
    }
    let begun = Instant::now();
    node.start()?;
    let is_ready = async || http::get(node.http(), "/readyz").await.is_ok_and(|(code, _)| code == 200).then_some(());
    wait::until("a restarted node is ready", READY_LIMIT, is_ready).await?;
    let took = begun.elapsed();
    let status = admin::node_status(node.client()).await?;
    if status.applied < target {
        return Err(Failure(format!(
            "node {follower} said after {took:.2?} that it is ready, and has applied {} of {target} entries",
            status.applied
        )));
    }
    Ok(took)
}

/// Asks the system to forget the pages of the files in `folder`; only clean ones go.
fn drop_cached_pages(folder: &Path) -> std::io::Result<()> {
    for file in std::fs::read_dir(folder)? {
        let file = std::fs::File::open(file?.path())?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}
