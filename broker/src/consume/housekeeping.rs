//! What the leader does about topics and consumer groups that are gone or that nobody uses: erasing what was deleted, step
//! by step, and telling the state which groups are polled for, so that those go that are not.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{parking::Parking, timers::millis};
use crate::{
    forward::Leadership,
    publish::Batcher,
    state::{Erase, IDLE_AT_ONCE_MAX, KeepGroups, Outcome, StateReader},
};

/// Records that one step erases: some milliseconds of work for each node.
const ERASED_AT_ONCE: u32 = 1024;
/// Between two steps, so that whatever else there is comes through.
const ERASE_EVERY: Duration = Duration::from_millis(5);
/// After a step that failed.
const ERASE_RETRY: Duration = Duration::from_millis(200);
/// A minute of idle time is told at once; the state counts no more than two of them for one command.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// Groups that one command names.
const POLLED_AT_ONCE: usize = 4096;

/// The parts that it works on.
pub struct Housekeeping {
    /// The replica's state.
    pub state: StateReader,
    /// The way into the log.
    pub batcher: Batcher,
    /// When to work.
    pub leadership: Arc<Leadership>,
    /// Who polls.
    pub parking: Arc<Parking>,
    /// Idle time after which an automatic group goes that never acknowledged anything.
    pub unused_group_age: Duration,
    /// Idle time after which any automatic group goes.
    pub idle_group_age: Duration,
}

impl Housekeeping {
    /// Starts it on the current runtime, until `stop`.
    pub fn start(self, stop: CancellationToken) {
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                let term = self.leadership.gained().await;
                tokio::select! {
                    () = self.leadership.lost(term) => {}
                    () = self.erase() => {}
                    () = self.keep() => {}
                }
            }
        }));
    }

    /// Takes up what an earlier leader left, and whatever is deleted from then on.
    async fn erase(&self) {
        loop {
            while self.state.erasing() {
                let step = self.batcher.submit(Erase { records: ERASED_AT_ONCE }.encode()).await;
                if let Err(error) = &step {
                    tracing::debug!(%error, "nothing was erased");
                }
                tokio::time::sleep(if step.is_ok() { ERASE_EVERY } else { ERASE_RETRY }).await;
            }
            self.state.events().erasing().await;
        }
    }

    async fn keep(&self) {
        loop {
            tokio::time::sleep(KEEP_EVERY).await;
            let polled = self.parking.take_polled();
            if !self.state.has_automatic_groups() {
                continue;
            }
            let mut chunks = polled.chunks(POLLED_AT_ONCE).map(<[_]>::to_vec);
            let mut next = Some(chunks.next().unwrap_or_default());
            while let Some(polled) = next {
                // All of them are named before any may go.
                let last = chunks.len() == 0;
                let (unused, idle) = if last { (self.unused_group_age, self.idle_group_age) } else { NEVER };
                let keep = KeepGroups { polled, unused_ms: millis(unused), idle_ms: millis(idle) };
                match self.batcher.submit(keep.encode()).await {
                    Ok(Outcome::GroupsKept { deleted }) => {
                        if deleted > 0 {
                            tracing::info!(deleted, "consumer groups went that nobody used");
                        }
                        let more = last && deleted as usize >= IDLE_AT_ONCE_MAX;
                        next = if more { Some(Vec::new()) } else { chunks.next() };
                    }
                    Ok(other) => panic!("keeping groups was answered by {other:?}"),
                    Err(error) => {
                        tracing::debug!(%error, "idle groups are not looked at");
                        break;
                    }
                }
            }
        }
    }
}

/// Longer than any group is idle.
const NEVER: (Duration, Duration) = (Duration::from_secs(u32::MAX as u64), Duration::from_secs(u32::MAX as u64));
