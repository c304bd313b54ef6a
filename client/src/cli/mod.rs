//! The command line: parse, call the library, print.
//!
//! - `args`: what can be typed, with its help.
//! - `output`: tables and JSON.
//! - `exit`, `failure`: how a command ends, and how that is told; `interrupt`: signals; `notices`: standard error.
//! - one file or folder per noun or verb: `topic`, `group`, `cluster`, `publish`, `consume`, `bench`,
//!   `context`; `pages`: completion and manual.
//!
//! Results go to standard output, progress and errors to standard error. Exit codes (`exit`): 0 done; 1 failed, or not every
//! message was stored; 2 the command line is wrong; 3 `cluster health` found no leader; 128 and the number of
//! the signal that ended it (`interrupt`). A reader of standard output that has enough, such as `head`, ends a command quietly.

#![deny(clippy::print_stdout, clippy::print_stderr)] // whoever prints waits, and panics where it cannot

mod args;
mod bench;
mod cluster;
mod consume;
mod context;
mod exit;
mod failure;
mod group;
mod interrupt;
mod notices;
mod output;
mod pages;
mod publish;
mod topic;

use std::{error::Error, process::ExitCode, time::Duration};

use tercet_client::Client;
use tracing_subscriber::EnvFilter;

use args::{Args, Command, Connection, Format};
use exit::{Done, Exit};

pub(crate) fn main() -> ExitCode {
    let args = Args::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(notices::writer).log_internal_errors(false).init();
    let format = args.output.unwrap_or(Format::Table);
    // One thread does more than a broker takes, and nothing waits for a hand-over between threads.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(run(args));
            // A thread that waits for standard input must not keep the process.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(format!("the runtime cannot start: {error}").into()),
    };
    let exit = done.unwrap_or_else(|error| {
        failure::tell(error.as_ref(), format);
        Exit::FAILED
    });
    notices::flush();
    exit.into()
}

async fn run(args: Args) -> Done {
    let Args { command, connection, context, timeout, output } = args;
    let format = output.unwrap_or(Format::Table);
    let connect = || connect(connection.clone(), context.as_deref(), timeout);
    match command {
        Command::Topic(command) => topic::run(connect()?, command, format).await,
        Command::Group(command) => group::run(connect()?, command, format).await,
        Command::Cluster(command) => cluster::run(connect()?, command, format).await,
        Command::Publish(publish) => publish::run(connect()?, publish, timeout, format).await,
        Command::Consume(consume) => consume::run(connect()?, consume, output).await,
        Command::Bench(bench) => bench::run(&connect, bench, format).await,
        Command::Context(command) => context::run(command, connection, format),
        Command::Completion { shell } => pages::completion(shell),
        Command::Man { dir } => pages::man(&dir),
    }
}

/// To where the options say, and the context behind them.
fn connect(given: Connection, context: Option<&str>, timeout: Option<Duration>) -> Result<Client, Box<dyn Error>> {
    let connection = given.or(context::connection(context)?);
    connection.check()?;
    let options = connection.options()?;
    let options = match timeout {
        Some(timeout) => options.call_timeout(timeout),
        None => options,
    };
    Ok(Client::new(options)?)
}
