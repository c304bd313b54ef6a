//! Room for the publishes of streams: whose turn it is to be read.
//!
//! A stream that publishes more than is stored is not refused but read no further: its bytes wait at the client, where they
//! cost this node nothing. To receive, decode and refuse them would take the processors from those who settle deliveries.
//! Calls of their own cannot be held back like that, so a part of the bound on publishes is left to them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room is counted in these.
const UNIT_BYTES: usize = 1 << 10;
/// What is passed on to the leader, where it arrives as calls, takes so many times as much: what the followers of a group pass
/// on together then fits beside the leader's own streams.
const PASSED_ON: usize = 8;

/// Shared by all streams of a node; whoever waits longest is next.
#[derive(Debug, Clone)]
pub struct StreamRoom {
    units: u32,
    free: Arc<Semaphore>,
}

/// Room that is taken until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct TakenRoom {
    _units: OwnedSemaphorePermit,
}

impl StreamRoom {
    /// Three quarters of what publishes may hold in all.
    pub fn beside_calls(publish_bytes_max: usize) -> StreamRoom {
        let units = u32::try_from(publish_bytes_max / 4 * 3 / UNIT_BYTES).unwrap_or(u32::MAX >> 1).max(1);
        StreamRoom { units, free: Arc::new(Semaphore::new(units as usize)) }
    }

    /// Waits for room for a request that this node stores, or passes on to the leader; one that is larger than all of it waits
    /// until nothing else has any.
    pub async fn take(&self, bytes: usize, passed_on: bool) -> TakenRoom {
        let units = bytes.div_ceil(UNIT_BYTES) * if passed_on { PASSED_ON } else { 1 };
        let units = u32::try_from(units).unwrap_or(u32::MAX).clamp(1, self.units);
        let taken = Arc::clone(&self.free).acquire_many_owned(units).await;
        TakenRoom { _units: taken.expect("nobody closes it") }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, poll};

    use super::*;

    #[tokio::test]
    async fn who_finds_no_room_has_it_in_turn_and_a_large_one_is_not_overtaken() {
        let room = StreamRoom::beside_calls(16 << 10);
        let first = room.take(9 << 10, false).now_or_never().expect("12 KiB are free");
        let mut large = Box::pin(room.take(1 << 20, false));
        assert!(poll!(&mut large).is_pending());
        assert!(room.take(1, false).now_or_never().is_none(), "it is behind the large one");
        drop(first);
        let all = large.now_or_never().expect("all is free");
        assert!(room.take(1, false).now_or_never().is_none());
        drop(all);
        let passed_on = room.take(1 << 10, true).now_or_never().expect("8 of 12 KiB");
        assert!(room.take(5 << 10, false).now_or_never().is_none());
        drop(passed_on);
        assert!(room.take(5 << 10, false).now_or_never().is_some());
    }
}
