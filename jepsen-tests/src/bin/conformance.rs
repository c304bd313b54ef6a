//! `make conformance`: the five official clients, unmodified, send and receive against three nodes, and go on after the
//! leader was killed. A language whose toolchain is missing is skipped by name.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use jepsen_tests::{
    cluster::Cluster,
    conformance::{
        languages::{Access, LANGUAGES, Language, Places},
        program::Program,
        verdict,
    },
    failure::Failure,
    setup,
};
use tokio::task::JoinSet;

/// How long a client may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long sending or receiving may take while all nodes live.
const CALM_LIMIT: Duration = Duration::from_secs(60);
/// And after the leader was killed: some clients look for a new route only every 30 s.
const FAULT_LIMIT: Duration = Duration::from_secs(120);

/// Runs the official clients against three nodes whose leader is killed.
#[derive(Debug, Parser)]
struct Args {
    /// Languages to run [default: all]
    languages: Vec<String>,
    /// Messages before and again after the leader is killed
    #[arg(long, default_value_t = 100)]
    messages: u64,
    /// Only install the clients
    #[arg(long)]
    install_only: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(unknown) = args.languages.iter().find(|name| LANGUAGES.iter().all(|known| known.name != **name)) {
        eprintln!("conformance: no such language: {unknown}");
        return ExitCode::FAILURE;
    }
    match run(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("conformance: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<bool, Failure> {
    let places = Places::usual();
    let mut rows = Vec::new();
    let mut ready = Vec::new();
    let is_wanted =
        |language: &&Language| args.languages.is_empty() || args.languages.iter().any(|n| n == language.name);
    for language in LANGUAGES.iter().filter(is_wanted) {
        let missing = language.missing();
        if !missing.is_empty() {
            rows.push(Row::skipped(language, &format!("skipped: {} is not installed", missing.join(" and "))));
            continue;
        }
        eprintln!("{}: installing {}", language.name, language.client);
        match language.install(&places) {
            Ok(()) => ready.push(*language),
            Err(failure) => rows.push(Row::failed(language, &failure)),
        }
    }
    if !args.install_only {
        rows.extend(drive(args, &places, &ready).await?);
    }
    println!(
        "| language | client | before the kill: sent, received | after: sent, received | took | repeated | verdict |"
    );
    println!("|---|---|---|---|---|---|---|");
    rows.iter().for_each(|row| println!("{}", row.text));
    Ok(rows.iter().all(|row| row.is_good))
}

/// All languages at once, so that one killed leader serves them all.
async fn drive(args: &Args, places: &Places, languages: &[Language]) -> Result<Vec<Row>, Failure> {
    let mut cluster = Cluster::start().await?;
    for language in languages {
        setup::create_topic(&cluster, &topic(language), 4).await?;
        setup::create_group(&cluster, &group(language)).await?;
    }
    let leader = cluster.leader().await?;
    let mut calm = JoinSet::new();
    for language in languages.iter().copied() {
        let (places, endpoints) = (places.clone(), endpoints(&cluster, leader, language.access));
        let messages = args.messages;
        calm.spawn(async move { (language, before_the_kill(language, &places, &endpoints, messages).await) });
    }
    let (mut rows, mut running) = (Vec::new(), Vec::new());
    for (language, run) in calm.join_all().await {
        match run {
            Ok(run) => running.push(run),
            Err(failure) => rows.push(Row::failed(&language, &failure)),
        }
    }
    cluster.node_mut(leader).kill().await?;
    eprintln!("SIGKILL to the leader, node {leader}");
    let mut fault = JoinSet::new();
    for run in running {
        let (language, messages) = (run.language, args.messages);
        fault.spawn(async move { (language, run.after_the_kill(messages).await) });
    }
    for (language, row) in fault.join_all().await {
        rows.push(row.unwrap_or_else(|failure| Row::failed(&language, &failure)));
    }
    Ok(rows)
}

/// A client that has sent and received while all nodes lived.
struct Run {
    language: Language,
    program: Program,
    sent: Vec<u64>,
    received: Vec<String>,
}

async fn before_the_kill(language: Language, places: &Places, endpoints: &str, messages: u64) -> Result<Run, Failure> {
    let mut command = language.command(places)?;
    command.args([endpoints, &topic(&language), &group(&language), language.name]);
    let mut program = Program::start(command, &places.cache.join(language.name), START_LIMIT).await?;
    let sent = program.send(0, messages, CALM_LIMIT).await?;
    let received = program.receive(messages, CALM_LIMIT).await?;
    eprintln!("{}: {} sent, {} received", language.name, sent.len(), received.len());
    Ok(Run { language, program, sent, received })
}

impl Run {
    async fn after_the_kill(mut self, messages: u64) -> Result<Row, Failure> {
        let began = Instant::now();
        let before = (self.sent.len(), self.received.len());
        self.sent.extend(self.program.send(messages, messages, FAULT_LIMIT).await?);
        self.received.extend(self.program.receive(messages, FAULT_LIMIT).await?);
        let took = began.elapsed();
        self.program.end().await;
        let violations = verdict::check(self.language.name, &self.sent, &self.received);
        let words = violations.first().map_or_else(|| "good".to_owned(), |first| format!("BROKEN: {first}"));
        Ok(Row {
            text: format!(
                "| {} | {} | {}, {} | {}, {} | {:.1} s | {} | {words} |",
                self.language.name,
                self.language.client,
                before.0,
                before.1,
                self.sent.len() - before.0,
                self.received.len() - before.1,
                took.as_secs_f64(),
                verdict::repeated(&self.received),
            ),
            is_good: violations.is_empty(),
        })
    }
}

/// A line of the table.
struct Row {
    text: String,
    is_good: bool,
}

impl Row {
    fn skipped(language: &Language, why: &str) -> Self {
        Self { text: format!("| {} | {} | | | | | {why} |", language.name, language.client), is_good: true }
    }

    fn failed(language: &Language, failure: &Failure) -> Self {
        Self { is_good: false, ..Self::skipped(language, &format!("FAILED: {failure}")) }
    }
}

fn topic(language: &Language) -> String {
    format!("conformance-{}", language.name)
}

fn group(language: &Language) -> String {
    format!("conformance-{}-readers", language.name)
}

/// The addresses that a client is given. One that takes a single address gets that of a node which lives on.
fn endpoints(cluster: &Cluster, leader: u64, access: Access) -> String {
    match access {
        Access::All(separator) => cluster.nodes().iter().map(|node| node.client()).collect::<Vec<_>>().join(separator),
        Access::One => {
            let follower = cluster.nodes().iter().find(|node| node.id() != leader);
            follower.expect("there are followers").client().to_owned()
        }
    }
}
