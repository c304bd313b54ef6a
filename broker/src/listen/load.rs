//! What one connection has open, and since when it has nothing open.
//!
//! Every request touches this at its begin and its end, so all of it is counters: nobody waits for anybody here.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{grpc::Answers, metrics::Closed};

/// Deadlines are told apart by this much.
const SLOT_MILLIS: u64 = 5000;
/// As many of them as no deadline lies ahead, twice.
const SLOTS: usize = 32;
/// Longest time that an answer may wait to be taken.
const UNREAD_LONGEST: Duration = Duration::from_millis(SLOT_MILLIS * (SLOTS as u64 / 2 - 1));

/// One connection, as the port, its requests and their answers see it.
#[derive(Debug)]
pub struct Load {
    opened: Instant,
    /// Requests begun and not yet answered in full.
    open: AtomicUsize,
    /// Whether there ever was one.
    asked: AtomicBool,
    /// Milliseconds after `opened` at which the last request ended.
    rests_since: AtomicU64,
    /// Bytes of requests that are not whole.
    unfinished_bytes: AtomicUsize,
    unread: Unread,
    /// Why this side closes it.
    closed: OnceLock<Closed>,
    cut: CancellationToken,
    answers: Answers,
}

/// Parts of answers that wait to be taken, counted by when they will have waited too long.
///
/// ```text
///   slots  ... │ passed, passed │ now │ deadlines of what waits ... │ ...   a ring: half of it is the past
/// ```
#[derive(Debug, Default)]
struct Unread([AtomicU32; SLOTS]);

impl Unread {
    fn count(&self, slot: u64) -> &AtomicU32 {
        &self.0[usize::try_from(slot % SLOTS as u64).expect("below a small number")]
    }

    /// Whether something waits whose slot has passed.
    fn is_overdue(&self, now: u64) -> bool {
        (now.saturating_sub(SLOTS as u64 / 2)..now).any(|slot| self.count(slot).load(Ordering::Relaxed) > 0)
    }
}

/// A request of a connection, from its first byte to the last one of its answer.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    load: Arc<Load>,
    unread_max: Duration,
    /// Where a part of the answer that waits to be taken is counted.
    waits: Option<u64>,
}

impl Load {
    /// A connection that was opened now.
    pub(crate) fn new() -> Load {
        Load {
            opened: Instant::now(),
            open: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
            rests_since: AtomicU64::new(0),
            unfinished_bytes: AtomicUsize::new(0),
            unread: Unread::default(),
            closed: OnceLock::new(),
            cut: CancellationToken::new(),
            answers: Answers::of_connection(),
        }
    }

    /// Room for the bodies of its answers.
    pub(crate) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// A request begins. A part of its answer may wait to be taken for at most `unread_max`, and some seconds.
    pub(crate) fn open_request(self: &Arc<Load>, unread_max: Duration) -> OpenRequest {
        assert!(unread_max <= UNREAD_LONGEST, "its deadline is told from one that has passed");
        self.open.fetch_add(1, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
        OpenRequest { load: Arc::clone(self), unread_max, waits: None }
    }

    /// For how long it has had no request open; whether it ever had one.
    pub(super) fn idle(&self) -> Option<(Duration, bool)> {
        // Pairs with the end of a request: who sees that it has ended sees when.
        if self.open.load(Ordering::Acquire) > 0 {
            return None;
        }
        let since = self.rests_since.load(Ordering::Relaxed);
        Some((Duration::from_millis(self.millis().saturating_sub(since)), self.asked.load(Ordering::Relaxed)))
    }

    /// Whether an answer has waited too long to be taken.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.is_overdue(self.millis() / SLOT_MILLIS)
    }

    /// Holds more bytes of unfinished requests, unless that exceeds the bound.
    pub(super) fn hold(&self, bytes: usize, bytes_max: usize) -> bool {
        let fits = self.unfinished_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= bytes_max;
        if !fits {
            self.let_go(bytes);
        }
        fits
    }

    /// Holds them no longer.
    pub(super) fn let_go(&self, bytes: usize) {
        let held = self.unfinished_bytes.fetch_sub(bytes, Ordering::Relaxed);
        assert!(held >= bytes, "what is let go was held");
    }

    /// Ends the connection at once, with all that runs on it.
    pub fn cut(&self, why: Closed) {
        self.closed.get_or_init(|| why);
        self.cut.cancel();
    }

    /// Returns when it is to end at once.
    pub(crate) async fn cut_off(&self) -> Option<Closed> {
        self.cut.cancelled().await;
        self.closed.get().copied()
    }

    /// Since it was opened.
    fn millis(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).expect("some hundred million years")
    }
}

impl OpenRequest {
    /// A part of the answer waits for the connection from now on; or none does any more, because the next one is asked for.
    pub(super) fn waits_to_be_taken(&mut self, waits: bool) {
        if let Some(slot) = self.waits.take() {
            self.load.unread.count(slot).fetch_sub(1, Ordering::Relaxed);
        }
        if waits {
            let overdue = self.load.opened.elapsed() + self.unread_max;
            let slot = u64::try_from(overdue.as_millis()).expect("some hundred million years") / SLOT_MILLIS;
            self.load.unread.count(slot).fetch_add(1, Ordering::Relaxed);
            self.waits = Some(slot);
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.waits_to_be_taken(false);
        self.load.rests_since.store(self.load.millis(), Ordering::Relaxed);
        let open = self.load.open.fetch_sub(1, Ordering::Release);
        assert!(open > 0, "each open request was counted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNREAD_MAX: Duration = Duration::from_secs(30);
    const SLOT: Duration = Duration::from_millis(SLOT_MILLIS);

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_waits_to_be_taken_is_unread_in_the_end() {
        let load = Arc::new(Load::new());
        let (mut resting, mut stuck) = (load.open_request(UNREAD_MAX), load.open_request(UNREAD_MAX));
        resting.waits_to_be_taken(true);
        resting.waits_to_be_taken(false);
        tokio::time::advance(Duration::from_secs(3601)).await;
        assert!(!load.is_unread(), "nothing waits");
        stuck.waits_to_be_taken(true);
        tokio::time::advance(UNREAD_MAX).await;
        assert!(!load.is_unread());
        for _ in 0..UNREAD_LONGEST.as_secs() / SLOT.as_secs() {
            tokio::time::advance(SLOT).await;
            assert!(load.is_unread(), "also for whoever looks late");
        }
        drop(stuck);
        assert!(!load.is_unread());
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_takes_a_part_now_and_then_is_never_unread() {
        let load = Arc::new(Load::new());
        let mut slow = load.open_request(UNREAD_MAX);
        for _ in 0..1000 {
            slow.waits_to_be_taken(true);
            tokio::time::advance(UNREAD_MAX).await;
            assert!(!load.is_unread());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_rests_from_the_end_of_its_last_request() {
        let load = Arc::new(Load::new());
        assert_eq!(load.idle(), Some((Duration::ZERO, false)));
        let (a, b) = (load.open_request(UNREAD_MAX), load.open_request(UNREAD_MAX));
        tokio::time::advance(SLOT).await;
        drop(a);
        assert_eq!(load.idle(), None);
        drop(b);
        tokio::time::advance(SLOT).await;
        assert_eq!(load.idle(), Some((SLOT, true)));
    }
}
