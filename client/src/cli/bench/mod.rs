//! `tercet bench`: rate and latency as a client sees them.

mod consume;
mod publish;
mod report;
mod share;
mod stamp;

use tercet_client::Client;

use super::{
    args::{BenchCommand, Format},
    exit::Done,
};

/// `connect` makes a client with connections of its own.
pub(super) async fn run(
    connect: &dyn Fn() -> Result<Client, Box<dyn std::error::Error>>,
    command: BenchCommand,
    format: Format,
) -> Done {
    let report = match command {
        BenchCommand::Publish(bench) => publish::run(connect, bench).await?,
        BenchCommand::Consume(bench) => consume::run(connect, bench).await?,
    };
    report.print(format)?;
    Ok((report.failed == 0).into())
}
