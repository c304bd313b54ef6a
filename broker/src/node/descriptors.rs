//! File descriptors: as many as the system gives, and bounds that fit into them.
//!
//! ```text
//!   limit ─┬─ own: runtimes, listeners, files under way
//!          ├─ log      a share that nobody else can take, so that it goes on whatever comes in through the ports
//!          ├─ state
//!          ├─ peers, HTTP
//!          └─ clients: the rest, at most limits.connections_max
//! ```
//! A client's connections must not cost the log a descriptor: a log that cannot open its next file stops its node, and the
//! clients would go on to the next one.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::too_few_descriptors::{LIMIT_MIN, TooFewDescriptors};
use crate::state::open_files_max;

/// What a node has open beside all that is counted by itself.
const OWN: u64 = 48;
/// Where the system sets no limit at all.
const UNLIMITED: u64 = 1 << 20;

/// How many descriptors each part may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptors {
    pub(super) limit: u64,
    pub(super) log: u64,
    pub(super) state: u64,
    pub(super) peers: u64,
    pub(super) http: u64,
    pub(super) clients: u64,
}

/// Raises the limit of this process as far as it goes; says what it is then.
pub(super) fn raise_limit() -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return Ok(current.unwrap_or(UNLIMITED));
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => {
            let raised = maximum.unwrap_or(UNLIMITED);
            tracing::info!(from = current, to = raised, "raised the limit of open files");
            Ok(raised)
        }
        Err(error) => {
            tracing::warn!(%error, from = current, to = maximum, "cannot raise the limit of open files");
            Ok(current.unwrap_or(UNLIMITED))
        }
    }
}

/// Shares the limit out.
pub(super) fn share(limit: u64, connections_max: u64) -> Result<Descriptors, TooFewDescriptors> {
    if limit < LIMIT_MIN {
        return Err(TooFewDescriptors { limit });
    }
    let part = |of: u64, most: u64| (limit / of).min(most);
    let (log, state, peers, http) = (limit / 4, open_files_max(limit), part(8, 256), part(16, 64));
    let rest = limit - OWN - log - state - peers - http;
    let clients = connections_max.min(rest);
    let shared = Descriptors { limit, log, state, peers, http, clients };
    assert!(OWN + log + state + peers + http + clients <= limit && clients > 0, "they fit: {shared:?}");
    Ok(shared)
}

impl Descriptors {
    /// How many files of the log are kept open; the rest of its share is for folders that are synced, and files for a moment.
    pub(super) fn log_files(&self) -> u64 {
        self.log * 3 / 4
    }

    /// Raises the limit and shares it out.
    pub(super) fn obtain(connections_max: usize) -> Result<Descriptors, crate::process::ProcessError> {
        let shared = share(raise_limit()?, connections_max as u64)?;
        let Descriptors { limit, log, state, peers, http, clients } = shared;
        if clients < connections_max as u64 {
            tracing::warn!(
                limit,
                clients,
                connections_max,
                "fewer client connections than limits.connections_max: the limit of open files is too low for more"
            );
        }
        tracing::info!(limit, log, state, peers, http, clients, "open files, by share");
        Ok(shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_fit_every_limit_and_clients_get_the_rest() {
        for limit in (LIMIT_MIN..5000).chain([65_536, 1 << 20, u64::MAX]) {
            let shared = share(limit, 10_000).unwrap();
            assert!(shared.clients <= 10_000 && shared.log >= limit / 4);
        }
        assert_eq!(share(65_536, 10_000).unwrap().clients, 10_000);
        let small = share(256, 10_000).unwrap();
        assert_eq!((small.log, small.state, small.peers, small.http, small.clients), (64, 32, 32, 16, 64));
    }

    #[test]
    fn too_few_are_refused_with_what_to_do() {
        let told = share(100, 1).unwrap_err().to_string();
        assert!(told.contains("100 files") && told.contains("ulimit -n"), "{told}");
    }
}
