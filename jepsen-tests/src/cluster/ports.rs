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

/// Ports in a row for one cluster, of which the first is the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    base: u16,
}

impl Run {
    /// The first one.
    #[must_use]
    pub fn base(self) -> u16 {
        self.base
    }

    /// Where node `id` listens for clients, peers and HTTP, by the rule of `tercetd dev`.
    ///
    /// # Panics
    /// If there is no room for such a node.
    #[must_use]
    pub fn addresses(self, id: u64) -> [String; 3] {
        let first = u16::try_from(id).ok().filter(|id| (1..10).contains(id)).expect("a cluster has at most nine nodes");
        [0, 10, 20].map(|offset| format!("127.0.0.1:{}", self.base + offset + first - 1))
    }
}

/// A run of ports that are all free on the loopback address now.
///
/// # Errors
/// If no run is free.
pub fn free() -> Result<Run, Failure> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..RUNS {
        // Processes that start at the same time begin at different runs.
        let run = std::process::id().wrapping_mul(7).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % RUNS;
        let base = FIRST + u16::try_from(run).expect("a run's number is small") * SPAN;
        if (base..base + SPAN).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(Run { base });
        }
    }
    Err(Failure(format!("no {SPAN} free ports in a row from {FIRST} on")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_with_a_port_in_use_is_passed_over() {
        let run = free().unwrap();
        let _held = TcpListener::bind(("127.0.0.1", run.base() + 5)).unwrap();
        for _ in 0..RUNS {
            assert_ne!(free().unwrap(), run);
        }
    }
}
