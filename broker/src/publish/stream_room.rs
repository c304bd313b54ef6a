//! Room for the publishes of streams: whose turn it is to be read.
//!
//! A stream that publishes more than is stored is not refused but read no further: all but one request of it waits at the client,
//! where it costs this node nothing. To receive, decode and refuse everything would take the processors from those who settle
//! deliveries. Calls of their own cannot be held back like that, so a part of the bound on publishes is left to them.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{held_bytes::HeldBytes, limits::STREAMS_WAITING_BYTES_MAX};

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
    /// Requests that wait.
    waiting: Arc<HeldBytes>,
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
        let waiting = Arc::new(HeldBytes::new(STREAMS_WAITING_BYTES_MAX));
        StreamRoom { units, free: Arc::new(Semaphore::new(units as usize)), waiting }
    }

    /// Waits for room for a request that this node stores, or passes on to the leader; one that is larger than all of it waits
    /// until nothing else has any. Nothing if there is none in time, or if too much waits already.
    pub async fn take(&self, bytes: usize, passed_on: bool, within: Option<Duration>) -> Option<TakenRoom> {
        let units = bytes.div_ceil(UNIT_BYTES) * if passed_on { PASSED_ON } else { 1 };
        let units = u32::try_from(units).unwrap_or(u32::MAX).clamp(1, self.units);
        if let Ok(taken) = Arc::clone(&self.free).try_acquire_many_owned(units) {
            return Some(TakenRoom { _units: taken });
        }
        let _waiting = self.waiting.hold(bytes)?;
        let taken = Arc::clone(&self.free).acquire_many_owned(units);
        let taken = match within {
            Some(within) => timeout(within, taken).await.ok()?,
            None => taken.await,
        };
        Some(TakenRoom { _units: taken.expect("nobody closes it") })
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, poll};

    use super::*;

    #[tokio::test]
    async fn who_finds_no_room_has_it_in_turn_and_a_large_one_is_not_overtaken() {
        let room = StreamRoom::beside_calls(16 << 10);
        let take = |bytes, passed_on| room.take(bytes, passed_on, None);
        let first = take(9 << 10, false).now_or_never().expect("12 KiB are free");
        let mut large = Box::pin(take(1 << 20, false));
        assert!(poll!(&mut large).is_pending());
        assert!(take(1, false).now_or_never().is_none(), "it is behind the large one");
        drop(first);
        let all = large.now_or_never().expect("all is free");
        assert!(take(1, false).now_or_never().is_none());
        drop(all);
        let passed_on = take(1 << 10, true).now_or_never().expect("8 of 12 KiB");
        assert!(take(5 << 10, false).now_or_never().is_none());
        drop(passed_on);
        assert!(take(5 << 10, false).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_bounded_in_bytes_and_in_time() {
        let room = StreamRoom::beside_calls(16 << 10);
        let all = room.take(1 << 20, false, None).await;
        let wait = |bytes| Box::pin(room.take(bytes, false, Some(Duration::from_secs(1))));
        let (mut first, mut second) = (wait(STREAMS_WAITING_BYTES_MAX), wait(1));
        assert!(poll!(&mut first).is_pending());
        assert!(matches!(poll!(&mut second), std::task::Poll::Ready(None)), "too much waits");
        assert!(first.await.is_none(), "not in time");
        let (mut first, mut second) = (wait(STREAMS_WAITING_BYTES_MAX - 1), wait(1));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        drop(all);
        assert!(first.await.is_some() && second.await.is_some());
        assert_eq!(room.waiting.now(), 0);
    }
}
