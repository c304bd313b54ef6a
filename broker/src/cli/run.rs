//! From a parsed command line to an exit code.

use std::{env, fmt::Display, io, process::ExitCode};

use tokio::runtime::{Builder, Runtime};

use super::{Cli, Command, ConfigCommand, bootstrap};
use crate::{
    config::{self, Config, ConfigError, Layers},
    dev, nameserver, node,
    process::{ProcessError, die_with_dev},
    telemetry_log,
};

const FAILED: u8 = 1;
const MISUSED: u8 = 2;
const STOPPED_ITSELF: u8 = 3;

/// Does what is asked and says how it went; see the help text for the codes.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    let outcome = match &cli.command {
        Command::Broker(args) => {
            serve(&args.layers(environment()), |config, runtime| runtime.block_on(node::run(config)))
        }
        Command::Nameserver(args) => {
            serve(&args.layers(environment()), |config, runtime| runtime.block_on(nameserver::run(&config)))
        }
        Command::Dev(args) => dev::run(args).map_err(complain),
        Command::Bootstrap(args) => run_bootstrap(args),
        Command::Config(ConfigCommand::Sample) => {
            print!("{}", config::render_sample());
            Ok(())
        }
        Command::Config(ConfigCommand::Check { settings, print }) => check(&settings.layers(environment()), *print),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => ExitCode::from(code),
    }
}

/// Variables that are no text are none of ours.
fn environment() -> Vec<(String, String)> {
    env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

fn complain(error: impl Display) -> u8 {
    eprintln!("tercetd: {error}");
    FAILED
}

fn misused(error: &ConfigError) -> u8 {
    eprintln!("tercetd: the configuration is wrong:\n{error}");
    MISUSED
}

fn serve(layers: &Layers, process: impl FnOnce(Config, &Runtime) -> Result<(), ProcessError>) -> Result<(), u8> {
    let config = config::load(layers).map_err(|error| misused(&error))?;
    telemetry_log::start(&config.logging).map_err(|error| {
        eprintln!("tercetd: the configuration is wrong:\n{error}");
        MISUSED
    })?;
    die_with_dev().map_err(complain)?;
    let runtime = runtime().map_err(complain)?;
    let outcome = process(config, &runtime);
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

fn run_bootstrap(args: &super::BootstrapArgs) -> Result<(), u8> {
    let config = config::load(&args.settings.layers(environment())).map_err(|error| misused(&error))?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(complain)?;
    let voters = if args.voters.is_empty() { &config.voters } else { &args.voters };
    let endpoint = args.endpoint.as_ref().unwrap_or(&config.advertise.client);
    let cluster = runtime.block_on(bootstrap::call(endpoint, voters)).map_err(complain)?;
    println!("the group is made; its cluster id is {cluster}");
    Ok(())
}

fn check(layers: &Layers, print: bool) -> Result<(), u8> {
    let effective = config::render_effective(layers).map_err(|error| misused(&error))?;
    if print {
        print!("{effective}");
    } else {
        println!("the configuration is good");
    }
    Ok(())
}
