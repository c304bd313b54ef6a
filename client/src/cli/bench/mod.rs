//! `tercet bench`: rate and latency as a client sees them.

mod consume;
mod publish;
mod report;
mod stamp;

use tercet_client::Client;

use super::{
    Done,
    args::{BenchCommand, Format},
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

/// `total` spread over `parts`, the first ones getting what does not divide evenly.
fn share(total: u32, parts: u32, part: u32) -> u32 {
    total / parts + u32::from(part < total % parts)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_add_up() {
        assert_eq!([share(10, 4, 0), share(10, 4, 1), share(10, 4, 2), share(10, 4, 3)], [3, 3, 2, 2]);
        assert_eq!((0..3).map(|part| share(1, 3, part)).sum::<u32>(), 1);
    }
}
