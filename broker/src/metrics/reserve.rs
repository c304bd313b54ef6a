//! How far back the log of this node reaches.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};
use raft_log::{
    RecordKind, Replica,
    types::{LogIndex, UnixMillis},
};

use super::replica::gauge;
use crate::state::{StateReader, entry_stamp};

/// Entries at the start that are looked at for one with a stamp; those of elections and of changes of members have none.
const LOOKED_AT_MAX: u64 = 64;

/// Reads the first stamp of the log, once for each start.
#[derive(Debug)]
pub struct ReserveCollector {
    replica: Replica,
    state: StateReader,
    known: Mutex<Option<(LogIndex, UnixMillis)>>,
}

impl ReserveCollector {
    /// Reads from these whenever it is asked.
    #[must_use]
    pub fn new(replica: Replica, state: StateReader) -> ReserveCollector {
        ReserveCollector { replica, state, known: Mutex::new(None) }
    }

    fn first_stamp(&self) -> Option<UnixMillis> {
        let start = self.state.readable_start();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none_or(|(of, _)| of != start) {
            *known = self.read(start).map(|stamp| (start, stamp));
        }
        known.map(|(_, stamp)| stamp)
    }

    fn read(&self, start: LogIndex) -> Option<UnixMillis> {
        (start.0..start.0 + LOOKED_AT_MAX).find_map(|index| {
            let record = self.replica.read(LogIndex(index), LogIndex(index).next(), 1).ok()?.pop()?;
            (record.kind == RecordKind::Command).then(|| entry_stamp(&record.payload).ok()).flatten()
        })
    }
}

impl Collector for ReserveCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(stamp) = self.first_stamp() else { return Ok(()) };
        let now = self.replica.stamp(self.state.clock());
        let help = "Milliseconds since the oldest entry was stored that retention keeps";
        gauge(&mut encoder, "rocketmq_storage_message_reserve_time", help, now.0.saturating_sub(stamp.0))
    }
}
