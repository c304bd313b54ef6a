//! `tercet`, the command line of Tercet.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
