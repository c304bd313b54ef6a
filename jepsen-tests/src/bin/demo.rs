//! `make demo`: Tercet's main job, done before your eyes. A real text is published line by line to three nodes, the
//! leader is killed in the middle, and every acknowledged line is proved to come back from where it was acknowledged.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use jepsen_tests::{
    admin,
    checkers::{self, Violation},
    cluster::Cluster,
    command,
    failure::{Doing, Failure},
    text::{
        gather,
        progress::Progress,
        proof::{self, Acknowledged, Consumed},
    },
    wait,
};

const TOPIC: &str = "demo";
const GROUP: &str = "demo-readers";
const LIMIT: Duration = Duration::from_secs(120);

/// Publishes a real text to three nodes, kills the leader in the middle, and proves that every acknowledged line comes
/// back from where it was acknowledged.
#[derive(Debug, Parser)]
struct Args {
    /// How many lines
    #[arg(long, default_value_t = 120_000)]
    lines: usize,
    /// Folder with sources and documents [default: the cargo registry]
    #[arg(long)]
    text: Option<PathBuf>,
    /// Unacknowledged messages at a time
    #[arg(long, default_value_t = 4096)]
    in_flight: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    match demo(&Args::parse()).await {
        Ok(violations) if violations.is_empty() => {
            println!("\nProved: nothing acknowledged was lost, doubled, moved or changed.");
            ExitCode::SUCCESS
        }
        Ok(violations) => {
            println!("\nBROKEN: {} violations", violations.len());
            violations.iter().take(20).for_each(|violation| println!("  {violation}"));
            ExitCode::FAILURE
        }
        Err(failure) => {
            println!("\nThe demonstration could not be carried out: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(args: &Args) -> Result<Vec<Violation>, Failure> {
    let story = Story::begin();
    let folder = args.text.clone().unwrap_or_else(gather::cargo_registry);
    let text = gather::gather(&folder, args.lines)?;
    let megabytes = text.iter().map(String::len).sum::<usize>() as f64 / 1e6;
    story.tell(&format!("Text: {} lines ({megabytes:.1} MB) of sources below {}", text.len(), folder.display()));

    let mut cluster = Cluster::start().await?;
    story.tell(&format!("Cluster: three nodes and a nameserver as processes; connect to {}", cluster.endpoint()));
    let endpoints = cluster.endpoints();
    command::run(&endpoints, &["topic", "create", TOPIC, "--queues", "8"], LIMIT).await?;

    let acknowledged = publish(args, &text, &mut cluster, &story).await?;
    let consumed = consume(&cluster, text.len(), &story).await?;
    let mut violations = proof::check(&text, &acknowledged, &consumed);
    if violations.is_empty() {
        story.tell(&format!(
            "Every one of the {} lines came back, byte for byte, from its acknowledged place",
            text.len()
        ));
    }
    violations.extend(compare_nodes(&cluster, &story).await?);
    Ok(violations)
}

/// Publishes everything, with the leader killed after a third and restarted after two thirds.
async fn publish(
    args: &Args,
    text: &[String],
    cluster: &mut Cluster,
    story: &Story,
) -> Result<Vec<Acknowledged>, Failure> {
    let (input, acks) = (cluster.folder().join("text"), cluster.folder().join("acks.jsonl"));
    fs::write(&input, text.join("\n")).doing(|| format!("write {}", input.display()))?;
    let in_flight = args.in_flight.to_string();
    let call =
        ["publish", "--topic", TOPIC, "--in-flight", &in_flight, "--file", path(&input)?, "--acks", path(&acks)?];
    let progress = Progress::watch(acks.clone());
    let publishing = command::Running::start(&cluster.endpoints(), &call)?;

    reaches(&progress, text.len() / 3).await?;
    let leader = cluster.leader().await?;
    let (killed_at, lines) = (progress.now(), progress.lines());
    cluster.node_mut(leader).kill().await?;
    story.tell(&format!("SIGKILL to the leader, node {leader}, with {lines} lines acknowledged"));
    let next = cluster.leader().await?;
    // What the old leader acknowledged may still be on its way into the file; more than that comes from the new one.
    reaches(&progress, lines + args.in_flight as usize + 1).await?;
    let gap = progress.longest_gap(killed_at);
    story.tell(&format!("Node {next} leads; nothing was acknowledged for {:.2} s", gap.as_secs_f64()));
    reaches(&progress, text.len() * 2 / 3).await?;
    cluster.node_mut(leader).restart().await?;
    story.tell(&format!("Node {leader} is started again, with {} lines acknowledged", progress.lines()));

    publishing.finish(LIMIT).await?;
    reaches(&progress, text.len()).await?;
    let took = progress.last_at().saturating_sub(progress.first_at());
    let rate = text.len() as f64 / took.saturating_sub(gap).as_secs_f64();
    story.tell(&format!(
        "All {} lines are acknowledged, {:.2} s after the first; {rate:.0} lines/s without the gap",
        progress.lines(),
        took.as_secs_f64()
    ));
    let acks = fs::read_to_string(&acks).doing(|| format!("read {}", acks.display()))?;
    proof::parse("acknowledgements", &acks)
}

async fn reaches(progress: &Progress, lines: usize) -> Result<(), Failure> {
    let what = format!("{lines} acknowledged lines");
    wait::until(&what, LIMIT, async || (progress.lines() >= lines).then_some(())).await
}

/// Consumes everything in a new group.
async fn consume(cluster: &Cluster, lines: usize, story: &Story) -> Result<Vec<Consumed>, Failure> {
    let out = cluster.folder().join("consumed.jsonl");
    let call = ["consume", "--topic", TOPIC, "--group", GROUP, "--until-idle", "2s", "--out", path(&out)?];
    let progress = Progress::watch(out.clone());
    command::run(&cluster.endpoints(), &call, LIMIT).await?;
    let text = fs::read_to_string(&out).doing(|| format!("read {}", out.display()))?;
    let consumed: Vec<Consumed> = proof::parse("consumed messages", &text)?;
    let rate = lines as f64 / progress.last_at().saturating_sub(progress.first_at()).as_secs_f64();
    let again = consumed.iter().filter(|message| message.attempt > 1).count();
    story.tell(&format!(
        "Consumed in a group: {} deliveries, {again} of them repeated; {rate:.0} lines/s",
        consumed.len()
    ));
    Ok(consumed)
}

/// The killed node has caught up, and all three hold the same log and the same state.
async fn compare_nodes(cluster: &Cluster, story: &Story) -> Result<Vec<Violation>, Failure> {
    let ids: Vec<u64> = cluster.nodes().iter().map(|node| node.id()).collect();
    let committed = cluster.caught_up(&ids, LIMIT).await?;
    let (mut logs, mut digests) = (Vec::new(), Vec::new());
    for node in cluster.nodes() {
        logs.push(admin::log_of(node.id(), node.client()).await?);
        digests.push(admin::digest_of(node.id(), node.client()).await?);
    }
    let violations = [checkers::replicas::check(&logs), checkers::digests::check(&digests)].concat();
    if violations.is_empty() {
        story.tell(&format!("All three nodes hold the same log up to entry {committed}, the restarted one included"));
    }
    Ok(violations)
}

fn path(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| Failure(format!("{} is not UTF-8", path.display())))
}

/// What happens, with the seconds since the beginning in front.
struct Story {
    began: Instant,
}

impl Story {
    fn begin() -> Self {
        Self { began: Instant::now() }
    }

    fn tell(&self, what: &str) {
        println!("{:6.2} s  {what}", self.began.elapsed().as_secs_f64());
    }
}
