//! `tercetd`: see [`tercet_broker::cli`].

use std::process::ExitCode;

use clap::Parser as _;
use tercet_broker::cli::{Cli, run};

/// Many small, short-lived allocations on many threads: the system's allocator took a tenth of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run(&Cli::parse())
}
