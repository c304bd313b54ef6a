//! `tercet`, the command line of Tercet.

mod cli;

use std::process::ExitCode;

/// As in `tercetd`; a benchmark's client should cost little beside what it measures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
