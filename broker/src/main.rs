//! `tercetd`: see [`tercet_broker::cli`].

use std::process::ExitCode;

use clap::Parser as _;
use tercet_broker::cli::{Cli, run};

fn main() -> ExitCode {
    run(&Cli::parse())
}
