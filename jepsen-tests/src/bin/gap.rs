//! `make bench-gap`: how long nothing is acknowledged when a leader is lost or replaced, one kind of loss at a time.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use jepsen_tests::{
    admin,
    cluster::process::Signal,
    failure::{Doing, Failure},
    gap,
    history::{Event, Recorder, What},
    hosts::{Hosts, until_stopped},
    wait,
    workload::beat::{self, Beat},
};
use tercet_proto::admin::v1::{CreateTopicRequest, TopicType, TransferLeadershipRequest};

const TOPIC: &str = "gap";
/// Acknowledgements after which a group counts as publishing again.
const RESUMED: usize = 100;
const RESUME_LIMIT: Duration = Duration::from_secs(60);
/// Between the end of one event and the next: leases and connections are as in a group that has run for long.
const QUIET: Duration = Duration::from_millis(1_500);

/// Measures publish gaps over lost and replaced leaders: real processes, one host each, 256 bytes each 5 ms.
#[derive(Debug, Parser)]
struct Args {
    /// Events of each kind
    #[arg(long, default_value_t = 50)]
    events: usize,
    /// Which kinds; all if none is named
    #[arg(long, value_enum)]
    kind: Vec<Kind>,
    /// A setting of all nodes over the defaults, as name=value
    #[arg(long = "set")]
    settings: Vec<String>,
}

/// What happens to the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// SIGKILL, then a restart.
    Kill,
    /// SIGSTOP, and SIGCONT once another leads.
    Stop,
    /// Its cable is pulled, and plugged in again once another leads.
    Isolate,
    /// It is told to hand over.
    Transfer,
    /// SIGTERM, then a restart.
    Term,
}

impl Kind {
    /// Median and worst that are wanted.
    fn limits(self) -> (Duration, Duration) {
        let (median, worst) = match self {
            Kind::Kill => (500, 1_500),
            Kind::Stop | Kind::Isolate => (1_500, 3_000),
            Kind::Transfer | Kind::Term => (200, 200),
        };
        (Duration::from_millis(median), Duration::from_millis(worst))
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Kill => "SIGKILL",
            Kind::Stop => "SIGSTOP",
            Kind::Isolate => "isolation",
            Kind::Transfer => "transfer",
            Kind::Term => "SIGTERM",
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match until_stopped(run(&args)).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("The measurement could not be carried out: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<bool, Failure> {
    let mut hosts = Hosts::start(&args.settings).await?;
    create_topic(&hosts).await?;
    let kinds = if args.kind.is_empty() { Kind::value_variants() } else { &args.kind };
    println!("{:10} {:>6} {:>9} {:>9} {:>9}   wanted (median, worst)", "leader", "events", "median", "p90", "worst");
    let mut met = true;
    for kind in kinds {
        let gaps = measure(&mut hosts, *kind, args.events).await?;
        let (median, worst) = (gap::median(&gaps), gaps.iter().max().copied().unwrap_or_default());
        let limits = kind.limits();
        let good = median <= limits.0 && worst <= limits.1;
        met &= good;
        println!(
            "{:10} {:>6} {:>6} ms {:>6} ms {:>6} ms   {:?}, {:?}: {}",
            kind.name(),
            gaps.len(),
            median.as_millis(),
            quantile(&gaps, 0.9).as_millis(),
            worst.as_millis(),
            limits.0,
            limits.1,
            if good { "met" } else { "MISSED" },
        );
    }
    println!(
        "\nOf others, measured by killing the leader (median, worst): RabbitMQ quorum queue 1.1 s, 1.8 s; NATS R3 5.7 s,"
    );
    println!("7.2 s; RocketMQ DLedger 8.0 s, 9.5 s; Kafka 8.2 s, 9.6 s.");
    Ok(met)
}

async fn create_topic(hosts: &Hosts) -> Result<(), Failure> {
    let (leader, _) = hosts.leader().await?;
    let request = CreateTopicRequest { name: TOPIC.to_owned(), queues: 4, r#type: TopicType::Normal.into() };
    let answer = admin::connect(hosts.client(leader)).await?.create_topic(request).await;
    answer.doing(|| format!("create topic {TOPIC}")).map(drop)
}

async fn measure(hosts: &mut Hosts, kind: Kind, events: usize) -> Result<Vec<Duration>, Failure> {
    let recorder = Arc::new(Recorder::default());
    let options = beat::Options {
        endpoints: hosts.endpoints(),
        topic: TOPIC.to_owned(),
        body_bytes: 256,
        interval: Duration::from_millis(5),
    };
    let beat = Beat::start(options, Arc::clone(&recorder))?;
    let mut gaps = Vec::new();
    for number in 1..=events {
        resumed(&recorder).await?;
        tokio::time::sleep(QUIET).await;
        let gap = strike(hosts, kind, &recorder).await?;
        eprintln!("{} {number}: {gap:.0?}", kind.name());
        gaps.push(gap);
    }
    beat.stop().await;
    let events = recorder.events();
    let count = |is: fn(&What) -> bool| events.iter().filter(|Event { what, .. }| is(what)).count();
    let (refused, unknown) =
        (count(|what| matches!(what, What::Refused { .. })), count(|what| matches!(what, What::Unknown { .. })));
    eprintln!("{}: {} stored, {refused} refused, {unknown} unknown", kind.name(), recorder.stored());
    Ok(gaps)
}

/// One loss, from the fault until the group publishes again and is whole; answers with the gap.
async fn strike(hosts: &mut Hosts, kind: Kind, recorder: &Recorder) -> Result<Duration, Failure> {
    let (leader, _) = hosts.leader().await?;
    let begun = Instant::now();
    let from = recorder.record(What::Fault { what: format!("{} of leader {leader}", kind.name()) });
    match kind {
        Kind::Kill => hosts.signal(leader, Signal::KILL)?,
        Kind::Stop => hosts.signal(leader, Signal::STOP)?,
        Kind::Isolate => hosts.isolate(leader)?,
        Kind::Term => hosts.signal(leader, Signal::TERM)?,
        Kind::Transfer => {
            let mut client = admin::connect(hosts.client(leader)).await?;
            let answer = client.transfer_leadership(TransferLeadershipRequest { to: None }).await;
            answer.doing(|| "transfer leadership".to_owned())?;
        }
    }
    // A gap that has not begun yet must not be missed: the last requests of the old leader are answered first.
    tokio::time::sleep(Duration::from_millis(300)).await;
    resumed(recorder).await?;
    let until = recorder.record(What::Fault { what: format!("over after {:?}", begun.elapsed()) });
    match kind {
        Kind::Kill | Kind::Term => {
            hosts.ended(leader).await?;
            hosts.restart(leader).await?;
        }
        Kind::Stop => hosts.signal(leader, Signal::CONT)?,
        Kind::Isolate => hosts.heal(leader)?,
        Kind::Transfer => {}
    }
    hosts.all_caught_up().await?;
    Ok(gap::longest(&recorder.events(), from, until))
}

async fn resumed(recorder: &Recorder) -> Result<(), Failure> {
    let target = recorder.stored() + RESUMED;
    wait::until("acknowledgements", RESUME_LIMIT, async || (recorder.stored() >= target).then_some(())).await
}

fn quantile(values: &[Duration], part: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let place = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(place).copied().unwrap_or_default()
}
