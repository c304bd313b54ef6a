//! Turns to read messages from the log.
//!
//! A drain reads as fast as it is served, on threads of its own, and all of them want a processor. The threads that write the log
//! and apply it want one for a moment each, several times for each message that is published, and would wait for all of those.
//! So while messages are published, reading leaves half of the processors alone.

use std::{num::NonZero, thread};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Turns for each processor: reads that wait for a disk use none.
const FOR_EACH_CORE: u32 = 2;
/// What a read takes beside publishes: of two processors, one reads.
const BESIDE_PUBLISHES: u32 = 2 * FOR_EACH_CORE;

/// The turns of a node, first come, first served.
pub(super) struct Turns {
    turns: Semaphore,
    is_publishing: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Turns {
    /// For the processors that this process may use.
    pub(super) fn new(is_publishing: impl Fn() -> bool + Send + Sync + 'static) -> Turns {
        Turns::of(thread::available_parallelism().map_or(1, NonZero::get), is_publishing)
    }

    fn of(cores: usize, is_publishing: impl Fn() -> bool + Send + Sync + 'static) -> Turns {
        // One processor alone has a turn to give as well.
        let turns = (cores * FOR_EACH_CORE as usize).max(BESIDE_PUBLISHES as usize);
        Turns { turns: Semaphore::new(turns), is_publishing: Box::new(is_publishing) }
    }

    /// Waits for a turn to read; it ends when the answer is dropped.
    pub(super) async fn take(&self) -> SemaphorePermit<'_> {
        let turns = if (self.is_publishing)() { BESIDE_PUBLISHES } else { 1 };
        self.turns.acquire_many(turns).await.expect("it is never closed")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn beside_publishes_half_of_the_processors_read() {
        let publishing = Arc::new(AtomicBool::new(false));
        for (cores, alone, beside) in [(1, 4, 1), (2, 4, 1), (4, 8, 2), (8, 16, 4)] {
            let flag = Arc::clone(&publishing);
            let turns = Turns::of(cores, move || flag.load(Ordering::Relaxed));
            for (now, at_once) in [(false, alone), (true, beside)] {
                publishing.store(now, Ordering::Relaxed);
                let mut taken: Vec<_> = std::iter::from_fn(|| turns.take().now_or_never()).collect();
                assert_eq!(taken.len(), at_once, "{cores} processors, publishing: {now}");
                taken.pop();
                assert!(turns.take().now_or_never().is_some(), "what is given back is given again");
            }
        }
    }
}
