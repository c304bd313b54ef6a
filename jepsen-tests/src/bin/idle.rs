//! `make bench-idle`: what consumers cost that have nothing to do, and how soon a fail-over reaches all of them.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use jepsen_tests::{
    cluster::Cluster,
    failure::{Doing, Failure},
    http,
    measure::{figures::median, idle},
    setup,
};
use tercet_client::{Client, Consumer, ConsumerOptions};
use tokio::time::{sleep, timeout};

const TOPIC: &str = "idle";
const QUEUES: u32 = 4;
const GROUP: &str = "idlers";
/// All consumers have a stream within this time.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the nodes are looked at after a fail-over.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How long nothing may change before all have come to rest.
const REST: Duration = Duration::from_secs(2);

/// Counts what idle consumers ask for, what they cost, and how long a fail-over takes to reach all of them.
#[derive(Debug, Parser)]
struct Args {
    /// Consumers, all of one group
    #[arg(long, default_value_t = 10_000)]
    consumers: usize,
    /// Consumers that share the connections of one client
    #[arg(long, default_value_t = 100)]
    per_client: usize,
    /// How long nothing is done, in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Leaders that are killed, one after the other
    #[arg(long, default_value_t = 5)]
    kills: usize,
    /// Of a core, what the consumers may cost all nodes together, in percent
    #[arg(long, default_value_t = 5.0)]
    cpu_max: f64,
    /// How long a fail-over may take until all consumers have a stream again, in milliseconds
    #[arg(long, default_value_t = 300.0)]
    reach_max: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if args.consumers == 0 || args.per_client == 0 || args.kills == 0 {
        eprintln!("--consumers, --per-client and --kills are at least 1");
        return ExitCode::from(2);
    }
    match measure(&args).await {
        Ok(is_met) => ExitCode::from(u8::from(!is_met)),
        Err(failure) => {
            eprintln!("The measurement could not be carried out: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: &Args) -> Result<bool, Failure> {
    let mut cluster = Cluster::start().await?;
    setup::create_topic(&cluster, TOPIC, QUEUES).await?;
    setup::create_group(&cluster, GROUP).await?;
    let span = Duration::from_secs(args.seconds);
    sleep(REST).await;
    let before = cost(&cluster, span).await?;
    println!("without consumers: {:.1} % of a core over all nodes", before.cpu_percent);

    let consumers = consumers(&cluster, args)?;
    let resting = all_rest(&cluster, args.consumers).await?;
    let with = cost(&cluster, span).await?;
    let cost = with.cpu_percent - before.cpu_percent;
    println!(
        "with {} idle consumers of {} clients: {:.1} %, so {cost:.1} % for them; {:.0} calls in {} s, {resting:.0} receives parked",
        args.consumers,
        args.consumers.div_ceil(args.per_client),
        with.cpu_percent,
        with.calls,
        args.seconds,
    );

    let mut reached = Vec::new();
    for kill in 1..=args.kills {
        let took = fail_over(&mut cluster, resting).await?;
        println!("fail-over {kill}: all consumers have a stream again after {took:.0} ms");
        reached.push(took);
    }
    let reach = median(reached);
    println!(
        "median of {} fail-overs: {reach:.0} ms (wanted {:.0}), {cost:.1} % of a core (wanted {:.1}), {:.0} calls (wanted 0)",
        args.kills, args.reach_max, args.cpu_max, with.calls
    );
    drop(consumers);
    Ok(reach <= args.reach_max && cost <= args.cpu_max && with.calls == 0.0)
}

fn consumers(cluster: &Cluster, args: &Args) -> Result<Vec<Consumer>, Failure> {
    let mut consumers = Vec::with_capacity(args.consumers);
    let mut client = None;
    for number in 0..args.consumers {
        if number % args.per_client == 0 {
            client = Some(Client::connect(&cluster.endpoints()).doing(|| "client".to_owned())?);
        }
        let client = client.as_ref().expect("made for the first one");
        let consumer = client.consumer(GROUP, [TOPIC], ConsumerOptions::new()).doing(|| "consumer".to_owned())?;
        consumers.push(consumer);
    }
    Ok(consumers)
}

struct Cost {
    cpu_percent: f64,
    /// Answered by any node.
    calls: f64,
}

async fn cost(cluster: &Cluster, span: Duration) -> Result<Cost, Failure> {
    let before = calls(cluster).await?;
    let nodes = idle::watch(cluster, span).await?;
    let calls = calls(cluster).await? - before;
    Ok(Cost { cpu_percent: nodes.iter().map(|node| node.cpu_percent).sum(), calls })
}

/// All calls that the nodes have answered.
async fn calls(cluster: &Cluster) -> Result<f64, Failure> {
    let mut all = 0.0;
    for node in cluster.nodes().iter().filter(|node| node.is_running()) {
        let (_, text) = http::get(node.http(), "/metrics").await?;
        let counts = text.lines().filter(|line| line.starts_with("rocketmq_rpc_latency_count"));
        all += counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(all)
}

/// Receives that are parked at any node.
async fn parked(cluster: &Cluster) -> f64 {
    let mut all = 0.0;
    for node in cluster.nodes().iter().filter(|node| node.is_running()) {
        // A node that is about to end or to begin has none.
        all += http::metric(node.http(), "tercet_parked_receives").await.unwrap_or(0.0);
    }
    all
}

/// Waits until all consumers have a stream and nothing changes any more; answers how many receives are parked then.
async fn all_rest(cluster: &Cluster, consumers: usize) -> Result<f64, Failure> {
    let resting = async {
        let mut last = (parked(cluster).await, Instant::now());
        loop {
            sleep(REST / 10).await;
            let now = parked(cluster).await;
            if now != last.0 {
                last = (now, Instant::now());
            } else if now >= consumers as f64 && last.1.elapsed() >= REST {
                return now;
            }
        }
    };
    let all = timeout(PATIENCE, resting).await;
    all.map_err(|_| Failure(format!("not all of {consumers} consumers have a stream after {PATIENCE:?}")))
}

/// Kills the leader; answers after how many milliseconds as many receives are parked again. The node is back then.
async fn fail_over(cluster: &mut Cluster, resting: f64) -> Result<f64, Failure> {
    let leader = cluster.leader().await?;
    let begun = Instant::now();
    cluster.node_mut(leader).kill().await?;
    let reached = async {
        while parked(cluster).await < resting {
            sleep(LOOK_INTERVAL).await;
        }
        begun.elapsed()
    };
    let Ok(took) = timeout(PATIENCE, reached).await else {
        let parked = parked(cluster).await;
        return Err(Failure(format!("{parked:.0} of {resting:.0} receives are parked after {PATIENCE:?}")));
    };
    cluster.node_mut(leader).restart().await?;
    let ids: Vec<u64> = cluster.nodes().iter().map(jepsen_tests::cluster::Node::id).collect();
    cluster.caught_up(&ids, PATIENCE).await?;
    sleep(REST).await;
    Ok(took.as_secs_f64() * 1e3)
}
