//! A run of free ports for a cluster. `tercetd dev --port-base N` takes ports from N to N + 30.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::failure::Failure;

/// Ports from the base on that belong to one cluster.
const SPAN: u16 = 40;
/// Below the range from which operating systems take ports for outgoing connections, which would get in the way.
const FIRST: u16 = 20_000;
/// How many runs there are from [`FIRST`] on.
const RUNS: u32 = 300;

/// The first of a run of ports that are all free on the loopback address now.
///
/// # Errors
/// If no run is free.
pub fn free_base() -> Result<u16, Failure> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..RUNS {
        // Processes that start at the same time begin at different runs.
        let run = std::process::id().wrapping_mul(7).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % RUNS;
        let base = FIRST + u16::try_from(run).expect("a run's number is small") * SPAN;
        if (base..base + SPAN).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(base);
        }
    }
    Err(Failure(format!("no {SPAN} free ports in a row from {FIRST} on")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_with_a_port_in_use_is_passed_over() {
        let base = free_base().unwrap();
        let _held = TcpListener::bind(("127.0.0.1", base + 5)).unwrap();
        for _ in 0..RUNS {
            assert_ne!(free_base().unwrap(), base);
        }
    }
}
