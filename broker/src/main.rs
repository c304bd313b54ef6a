//! `tercetd`: see [`tercet_broker::cli`].

use std::process::ExitCode;

use clap::Parser as _;
use tercet_broker::cli::{Cli, run};

/// Many small, short-lived allocations on many threads: the system's allocator took a tenth of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks the system for huge pages. What is read behind the cache lives for a moment, and a page of 2 MiB that
    // is cleared for each such buffer cost more than all else that a receive does. Without it all is as before, and slower.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    run(&Cli::parse())
}
