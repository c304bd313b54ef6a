//! The command line: parse, call the library, print.
//!
//! - `args`: what can be typed, with its help.
//! - `output`: tables and JSON.
//! - one file per noun or verb: `topic`, `group`, `cluster` (and `members`, its changes), `publish`, `consume`, `bench`, `log`.
//!
//! Results go to standard output, progress and errors to standard error. Exit codes: 0 done; 1 failed, or not every
//! message was stored, or a log is damaged; 2 the command line is wrong. A reader of standard output that has enough, such as
//! `head`, ends a command quietly.

#![deny(clippy::print_stdout, clippy::print_stderr)] // whoever prints waits, and panics where it cannot

mod acks;
mod args;
mod bench;
mod cluster;
mod consume;
mod group;
mod log;
mod members;
mod notices;
mod output;
mod publish;
mod topic;

use std::{error::Error, process::ExitCode};

use clap::Parser as _;
use tercet_client::{Client, ClientOptions, Error as ClientError, proto::admin::v1::TopicType};
use tonic::Code as GrpcCode;
use tracing_subscriber::EnvFilter;

use args::{Args, Command, Endpoints};
use notices::notice;

/// What a command returns: whether everything that it was asked for was done.
type Done = Result<bool, Box<dyn Error>>;

pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(notices::writer).log_internal_errors(false).init();
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
    let code = match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            notice(format!("error: {error}"));
            if let Some(hint) = hint(error.as_ref()) {
                notice(format!("hint: {hint}"));
            }
            ExitCode::FAILURE
        }
    };
    notices::flush();
    code
}

async fn run(args: Args) -> Done {
    let Args { command, endpoints, output } = args;
    match command {
        Command::Topic(command) => topic::run(connect(&endpoints)?, command, output).await,
        Command::Group(command) => group::run(connect(&endpoints)?, command, output).await,
        Command::Cluster(command) => cluster::run(connect(&endpoints)?, command, output).await,
        Command::Publish(publish) => publish::run(connect(&endpoints)?, publish, output).await,
        Command::Consume(consume) => consume::run(connect(&endpoints)?, consume).await,
        Command::Log(command) => log::run(command, output),
        Command::Bench(bench) => bench::run(&|| connect(&endpoints), bench, output).await,
    }
}

fn connect(endpoints: &Endpoints) -> Result<Client, ClientError> {
    Client::new(ClientOptions::new(endpoints.0.clone()))
}

/// What to do about an error, where that is known.
fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    use tercet_client::Code;
    match error.downcast_ref::<ClientError>()? {
        ClientError::Unavailable { .. } => {
            Some("is the broker running there? `--endpoint` names nodes, `tercetd dev` starts a group".to_owned())
        }
        ClientError::Refused { code: Code::TOPIC_NOT_FOUND, .. } => Some(hint_for_topic()),
        ClientError::Refused { code: Code::CONSUMER_GROUP_NOT_FOUND, .. } => {
            Some("`tercet group create NAME` makes a consumer group".to_owned())
        }
        ClientError::Rpc { code: GrpcCode::NotFound, call, .. } if call.ends_with("topic") => Some(hint_for_topic()),
        ClientError::Rpc { code: GrpcCode::NotFound, call, .. } if call.ends_with("group") => {
            Some("`tercet group list` shows all groups".to_owned())
        }
        ClientError::Rpc { code: GrpcCode::Unimplemented, .. } => {
            Some("the endpoint is no Tercet broker, or an older one".to_owned())
        }
        _ => None,
    }
}

fn hint_for_topic() -> String {
    "`tercet topic create NAME --queues N` makes a topic, `tercet topic list` shows all".to_owned()
}

fn topic_type_name(kind: TopicType) -> &'static str {
    match kind {
        TopicType::Fifo => "fifo",
        TopicType::Delay => "delay",
        TopicType::Transaction => "transaction",
        TopicType::Normal => "normal",
        TopicType::Unspecified => "unknown",
    }
}
