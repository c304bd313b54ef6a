//! From a parsed command line to an exit code.

use std::{
    env,
    fmt::Display,
    future::Future,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use tercet_output::Lines;
use tokio::runtime::{Builder, Runtime};

use super::{Cli, Command, ConfigCommand, SecretCommand, bootstrap, log};
use crate::{
    config::{self, Config, Layers},
    dev, nameserver, node, peer_secret,
    process::{ProcessError, die_with_dev, heed_panics, panicked},
    telemetry_log,
};

const FAILED: u8 = 1;
const MISUSED: u8 = 2;
const STOPPED_ITSELF: u8 = 3;

/// The last lines of a process get this long to be written.
const LAST_LINES_MAX: Duration = Duration::from_secs(1);

/// Does what is asked and says how it went; see the help text for the codes.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    // Without a thread or a descriptor for it there is nowhere to say so.
    let Ok(lines) = Lines::stderr() else { return ExitCode::from(FAILED) };
    let outcome = dispatch(cli, &lines);
    lines.flush(LAST_LINES_MAX);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => ExitCode::from(code),
    }
}

fn dispatch(cli: &Cli, lines: &Lines) -> Result<(), u8> {
    match &cli.command {
        Command::Broker(args) => serve(&args.layers(environment()), lines, |config| node::run(config, lines.clone())),
        Command::Nameserver(args) => {
            serve(&args.layers(environment()), lines, |config| nameserver::run(config, lines.clone()))
        }
        Command::Dev(args) => dev::run(args, lines).map_err(|error| complain(lines, error)),
        Command::Bootstrap(args) => run_bootstrap(args, lines),
        Command::Config(ConfigCommand::Sample) => print(&config::render_sample(), lines),
        Command::Config(ConfigCommand::Check { settings, print }) => {
            check(&settings.layers(environment()), *print, lines)
        }
        Command::Secret(SecretCommand::New { file }) => new_secret(file, lines),
        Command::Log(args) => match log::run(&args.command, args.output, lines) {
            Ok(true) => Ok(()),
            Ok(false) => Err(FAILED),
            Err(error) => Err(complain(lines, error)),
        },
    }
}

/// Variables that are no text are none of ours.
fn environment() -> Vec<(String, String)> {
    env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

fn complain(lines: &Lines, error: impl Display) -> u8 {
    lines.say(format!("tercetd: {error}"));
    FAILED
}

fn misused(lines: &Lines, error: impl Display) -> u8 {
    lines.say(format!("tercetd: the configuration is wrong:\n{error}"));
    MISUSED
}

/// Prints a result. A reader that has enough of it is none of our failures.
fn print(text: &str, lines: &Lines) -> Result<(), u8> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(complain(lines, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn serve<F: Future<Output = Result<(), ProcessError>>>(
    layers: &Layers,
    lines: &Lines,
    process: impl FnOnce(Config) -> F,
) -> Result<(), u8> {
    let config = config::load(layers).map_err(|error| misused(lines, &error))?;
    telemetry_log::start(&config.logging, lines.clone()).map_err(|error| misused(lines, error))?;
    heed_panics(lines.clone());
    die_with_dev().map_err(|error| complain(lines, error))?;
    let runtime = runtime().map_err(|error| complain(lines, error))?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = process(config) => outcome,
            words = panicked() => Err(ProcessError::Fatal(words)),
        }
    });
    // What still runs on blocking threads has its results dropped; nothing acknowledged depends on it.
    runtime.shutdown_background();
    outcome.map_err(|error| {
        tracing::error!(%error, "stopped");
        match error {
            ProcessError::Fatal(_) => STOPPED_ITSELF,
            _ => FAILED,
        }
    })
}

/// Where requests are served. Half of the cores are left to the log, to the peers and to the state, which have threads of
/// their own; one thread needs no hand-over of work, which costs a wake-up for each request.
fn runtime() -> io::Result<Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2);
    match threads {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
}

fn run_bootstrap(args: &super::BootstrapArgs, lines: &Lines) -> Result<(), u8> {
    let config = config::load(&args.settings.layers(environment())).map_err(|error| misused(lines, &error))?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| complain(lines, error))?;
    let voters = if args.voters.is_empty() { &config.voters } else { &args.voters };
    let endpoint = args.endpoint.as_ref().unwrap_or(&config.advertise.client);
    let cluster = runtime.block_on(bootstrap::call(endpoint, voters)).map_err(|error| complain(lines, error))?;
    print(&format!("the group is made; its cluster id is {cluster}\n"), lines)
}

fn new_secret(file: &Path, lines: &Lines) -> Result<(), u8> {
    peer_secret::create(file).map_err(|error| complain(lines, error))?;
    let made = format!("{} is made; copy it to every node and name it in peer.secret_file\n", file.display());
    print(&made, lines)
}

fn check(layers: &Layers, whole: bool, lines: &Lines) -> Result<(), u8> {
    let effective = config::render_effective(layers).map_err(|error| misused(lines, &error))?;
    let config = config::load(layers).map_err(|error| misused(lines, &error))?;
    if let Some(file) = &config.peer_secret_file {
        peer_secret::read(file).map_err(|error| misused(lines, format!("peer.secret_file: {error}")))?;
    }
    print(if whole { &effective } else { "the configuration is good\n" }, lines)
}
