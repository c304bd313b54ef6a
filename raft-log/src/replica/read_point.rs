//! One confirmation of leadership serves all reads that began before it.
//!
//! ```text
//!   callers:  a    b c d      e
//!   rounds:   [ a ------- ][ b c d e? ------ ]     e joins only if its call came before the round began
//! ```
//! A confirmation asks a majority whether this node still leads, which costs a message to each peer. A caller may share
//! only a round that begins after its call: an earlier one says nothing about what was acknowledged since (hazards 13).
//! So there is at most one round under way and one that waits for it; whoever comes meanwhile joins the one that waits.
//! A round is driven by those who wait for it, and dropped with the last of them.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

type Round<T> = Shared<BoxFuture<'static, T>>;

/// The rounds of one replica; `T` is what a round finds.
pub(crate) struct ReadPoints<T: Clone> {
    rounds: Mutex<Rounds<T>>,
}

struct Rounds<T: Clone> {
    /// The newest round, whether it waits, is under way or is done.
    newest: Option<Round<T>>,
    /// Whether the newest round has not begun, so that it may be joined.
    open: bool,
}

impl<T: Clone> Default for ReadPoints<T> {
    fn default() -> Self {
        ReadPoints { rounds: Mutex::new(Rounds { newest: None, open: false }) }
    }
}

impl<T: Clone + Send + Sync + 'static> ReadPoints<T> {
    /// What a round finds that begins after this call. `confirm` makes the round if there is none to join; it must end
    /// by itself, since later rounds wait for it.
    pub(crate) fn join<F>(self: &Arc<Self>, confirm: F) -> impl Future<Output = T> + Send + use<T, F>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut rounds = self.lock();
        if rounds.open {
            return rounds.newest.clone().expect("an open round is the newest");
        }
        let before = rounds.newest.take();
        // Weak, because the round is kept here until it is done.
        let points = Arc::downgrade(self);
        let round = async move {
            if let Some(before) = before {
                before.await;
            }
            if let Some(points) = points.upgrade() {
                points.lock().open = false;
            }
            confirm.await
        };
        let round = round.boxed().shared();
        *rounds = Rounds { newest: Some(round.clone()), open: true };
        round
    }

    fn lock(&self) -> MutexGuard<'_, Rounds<T>> {
        self.rounds.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::oneshot;

    /// Counts the rounds that began; a round ends when it is told to.
    #[derive(Default)]
    struct Bench {
        points: Arc<ReadPoints<u32>>,
        begun: Arc<AtomicU32>,
    }

    impl Bench {
        fn call(&self) -> (impl Future<Output = u32> + Send + use<>, oneshot::Sender<()>) {
            let (end, ended) = oneshot::channel::<()>();
            let begun = self.begun.clone();
            let confirm = async move {
                let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
                // A bench that drops its end ends the round.
                drop(ended.await);
                number
            };
            (self.points.join(confirm), end)
        }
    }

    #[tokio::test]
    async fn callers_that_come_during_a_round_share_the_next() {
        let bench = Bench::default();
        let (first, end_first) = bench.call();
        let mut first = pin!(first);
        assert!(futures::poll!(&mut first).is_pending(), "the first round is under way");

        let (mut waiting, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            let (call, end) = bench.call();
            waiting.push(call);
            ends.push(end);
        }
        end_first.send(()).unwrap();
        assert_eq!(first.await, 1);
        drop(ends);
        for call in waiting {
            assert_eq!(call.await, 2, "never the round that had begun before the call");
        }
        assert_eq!(bench.begun.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_call_after_a_round_began_waits_for_a_new_one() {
        let bench = Bench::default();
        let (first, end_first) = bench.call();
        let (joined, _) = bench.call();
        let mut joined = pin!(joined);
        assert!(futures::poll!(&mut joined).is_pending(), "both share the round, which has begun now");
        let (late, end_late) = bench.call();
        drop((end_first, end_late));
        assert_eq!((first.await, joined.await, late.await), (1, 1, 2));
    }

    #[tokio::test]
    async fn a_round_whose_callers_are_gone_holds_up_nobody() {
        let bench = Bench::default();
        let (first, end_first) = bench.call();
        let mut first = Box::pin(first);
        assert!(futures::poll!(&mut first).is_pending());
        let (second, end_second) = bench.call();
        drop(first);
        drop((end_first, end_second));
        assert_eq!(second.await, 2);
        let (third, end_third) = bench.call();
        drop(end_third);
        assert_eq!(third.await, 3);
    }
}
