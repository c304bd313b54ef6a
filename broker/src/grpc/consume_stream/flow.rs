//! What may be pushed, and what was pushed and has not arrived as far as is known.
//!
//! ```text
//!   granted ─► credit ─► share of a receive ─► what it brought: a batch, not arrived ─► arrived
//!                 ▲            │ what it did not bring
//!                 └────────────┘
//! ```
//! Invariants: what is shared out and not settled was taken from the credit; what has not arrived is bounded, because
//! nothing is shared out beyond the bound of the stream, nor beyond what all streams leave to it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tercet_proto::client::v1::Credit;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::references::References;
use crate::{
    limits::{STREAM_CREDIT_BYTES_MAX, STREAM_CREDIT_MESSAGES_MAX, STREAM_RECEIVE_MESSAGES_MAX},
    state::AckEntry,
};

/// Bytes that one receive asks for at most.
const SHARE_BYTES_MAX: i64 = 1 << 20;
/// A stream to which the others leave nothing looks again after this time.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A client that has said for so long of nothing that it arrived does not say it.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// The flow of one stream.
#[derive(Debug)]
pub(super) struct Flow {
    state: Mutex<State>,
    more: Notify,
    unconfirmed: Notify,
    references: References,
}

#[derive(Debug, Default)]
struct State {
    messages: u64,
    /// Below zero if a large message passed.
    bytes: i64,
    /// Batches that were pushed, by number, and the deliveries in them.
    pushed: VecDeque<(u64, Vec<AckEntry>)>,
    pushed_messages: u64,
    last: u64,
    /// There is credit, and the other streams hold too much for more to be shared out.
    crowded: bool,
    /// Since when the client has confirmed nothing of what was pushed.
    silent_since: Option<Instant>,
    /// It held too much in silence. See [`Flow::crowds_others`].
    crowds_others: bool,
}

/// The part of the credit that a receive may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) messages: u16,
    pub(super) bytes: u32,
}

impl Flow {
    pub(super) fn new(credit: &Credit, references: References) -> Flow {
        let flow = Flow { state: Mutex::default(), more: Notify::new(), unconfirmed: Notify::new(), references };
        flow.grant(credit);
        flow
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds credit, up to the bounds, and takes note of what has arrived.
    pub(super) fn grant(&self, credit: &Credit) {
        let mut state = self.lock();
        let bytes = i64::try_from(credit.bytes.min(STREAM_CREDIT_BYTES_MAX)).expect("capped");
        state.messages = state.messages.saturating_add(credit.messages).min(STREAM_CREDIT_MESSAGES_MAX);
        state.bytes = (state.bytes + bytes).min(STREAM_CREDIT_BYTES_MAX as i64);
        while let Some((_, entries)) = state.pushed.pop_front_if(|(number, _)| *number <= credit.arrived) {
            self.forget(&mut state, entries.len());
            state.silent_since = (!state.pushed.is_empty()).then(Instant::now);
        }
        drop(state);
        self.more.notify_one();
    }

    /// Takes a share, if there is credit. It must be settled.
    pub(super) fn share(&self) -> Option<Share> {
        let mut state = self.lock();
        let room = STREAM_CREDIT_MESSAGES_MAX.saturating_sub(state.pushed_messages);
        let own = state.messages.min(room).min(STREAM_RECEIVE_MESSAGES_MAX as u64);
        let messages = own.min(self.references.allowed().saturating_sub(state.pushed_messages));
        let bytes = state.bytes.min(SHARE_BYTES_MAX);
        state.crowded = own > 0 && bytes > 0 && messages == 0;
        if messages == 0 || bytes <= 0 {
            return None;
        }
        state.messages -= messages;
        state.bytes -= bytes;
        Some(Share {
            messages: u16::try_from(messages).expect("capped"),
            bytes: u32::try_from(bytes).expect("capped, and above zero"),
        })
    }

    /// A receive brought so much of its share.
    pub(super) fn settle(&self, share: Share, messages: usize, bytes: u64) {
        let unused = u64::from(share.messages).checked_sub(messages as u64).expect("no more than it asked for");
        let mut state = self.lock();
        state.messages += unused;
        state.bytes += i64::from(share.bytes) - i64::try_from(bytes).expect("a few megabytes");
        drop(state);
        self.more.notify_one();
    }

    /// Messages that were received and are not pushed.
    pub(super) fn not_pushed(&self, messages: usize, bytes: u64) {
        let mut state = self.lock();
        state.messages += messages as u64;
        state.bytes += i64::try_from(bytes).expect("a few megabytes");
        drop(state);
        self.more.notify_one();
    }

    /// The number of a batch that is pushed now.
    pub(super) fn pushed(&self, entries: Vec<AckEntry>) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        state.pushed_messages += entries.len() as u64;
        self.references.add(entries.len());
        if state.silent_since.is_none() {
            state.silent_since = Some(Instant::now());
            self.unconfirmed.notify_one();
        }
        state.pushed.push_back((number, entries));
        number
    }

    /// The highest number that a client can know.
    pub(super) fn last(&self) -> u64 {
        self.lock().last
    }

    /// Everything behind this batch that has not arrived as far as is known. It is to be given back.
    pub(super) fn take_behind(&self, batch: u64) -> Vec<AckEntry> {
        let mut state = self.lock();
        let mut taken = VecDeque::new();
        while let Some((_, entries)) = state.pushed.pop_back_if(|(number, _)| *number > batch) {
            self.forget(&mut state, entries.len());
            taken.push_front(entries);
        }
        taken.into_iter().flatten().collect()
    }

    /// Whether the client has not said for long what arrived, and this takes the room of others. From then on nothing has
    /// arrived that it has not said.
    pub(super) fn crowds_others(&self) -> bool {
        let mut state = self.lock();
        let silent = state.silent_since.is_some_and(|since| since.elapsed() >= SILENT_AFTER);
        state.crowds_others |=
            silent && self.references.are_scarce() && state.pushed_messages > self.references.allowed();
        state.crowds_others
    }

    /// Whether everything has arrived.
    pub(super) fn all_has_arrived(&self) -> bool {
        self.lock().pushed.is_empty()
    }

    /// Returns as soon as something is pushed that has not arrived as far as is known; for one caller.
    pub(super) async fn not_all_has_arrived(&self) {
        while self.all_has_arrived() {
            self.unconfirmed.notified().await;
        }
    }

    fn forget(&self, state: &mut State, messages: usize) {
        state.pushed_messages -= messages as u64;
        self.references.remove(messages);
    }

    /// Returns when there may be more to share out; for one caller.
    pub(super) async fn more(&self) {
        if self.lock().crowded {
            // The others tell nobody when they hold less.
            let _ = timeout(LOOK_AGAIN, self.more.notified()).await;
        } else {
            self.more.notified().await;
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.take_behind(0);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;
    use raft_log::types::UnixMillis;

    use super::*;
    use crate::{
        limits::STREAM_REFERENCES_MAX,
        model::{QueueId, QueueOffset},
    };

    fn credit(messages: u64, bytes: u64, arrived: u64) -> Credit {
        Credit { messages, bytes, arrived }
    }

    fn new(credit: &Credit) -> Flow {
        Flow::new(credit, References::new(Gauge::default()))
    }

    fn entries(count: u64) -> Vec<AckEntry> {
        let entry =
            |offset| AckEntry { queue: QueueId(0), offset: QueueOffset(offset), nonce: 1, deadline: UnixMillis(1) };
        (0..count).map(entry).collect()
    }

    #[test]
    fn nothing_is_shared_out_beyond_the_credit() {
        let flow = new(&credit(1200, 10 << 20, 0));
        let first = flow.share().expect("credit");
        assert_eq!((first.messages, first.bytes), (1024, 1 << 20));
        assert_eq!(flow.share().expect("the rest").messages, 176);
        assert_eq!(flow.share(), None);
        flow.settle(first, 1012, 1000);
        assert_eq!(flow.share().expect("what was not used").messages, 12);
    }

    #[test]
    fn one_large_message_passes_and_is_owed() {
        let flow = new(&credit(10, 1, 0));
        let share = flow.share().expect("some credit");
        flow.settle(share, 1, 5000);
        assert_eq!(flow.share(), None);
        flow.grant(&credit(0, 4999, 0));
        assert_eq!(flow.share(), None);
        flow.grant(&credit(0, 1, 0));
        assert_eq!(flow.share().expect("paid").bytes, 1);
    }

    #[test]
    fn credit_is_kept_up_to_its_bound() {
        let flow = new(&credit(u64::MAX, u64::MAX, 0));
        flow.grant(&credit(u64::MAX, u64::MAX, 0));
        let mut shared = 0;
        while let Some(share) = flow.share() {
            shared += u64::from(share.messages);
            flow.settle(share, usize::from(share.messages), 0);
        }
        assert_eq!(shared, STREAM_CREDIT_MESSAGES_MAX);
    }

    #[test]
    fn what_has_not_arrived_is_kept_and_bounded() {
        let flow = new(&credit(u64::MAX, u64::MAX, 0));
        assert_eq!((flow.pushed(entries(3)), flow.pushed(entries(2)), flow.last()), (1, 2, 2));
        flow.grant(&credit(0, 0, 1));
        assert_eq!(flow.take_behind(0).len(), 2);
        assert!(flow.all_has_arrived());
        let flow = new(&credit(u64::MAX, u64::MAX, 0));
        flow.pushed(entries(STREAM_CREDIT_MESSAGES_MAX - 5));
        assert_eq!(flow.share().expect("room for five").messages, 5);
        flow.pushed(entries(5));
        flow.grant(&credit(u64::MAX, 0, 0));
        assert_eq!(flow.share(), None);
        flow.grant(&credit(0, 0, 1));
        assert!(flow.share().is_some());
    }
    #[test]
    fn what_is_behind_a_batch_is_taken_in_its_order_and_the_rest_stays() {
        let flow = new(&credit(u64::MAX, u64::MAX, 0));
        let of = |offset: u64| entries(offset + 1).split_off(offset as usize);
        for offset in 0..4 {
            flow.pushed(of(offset));
        }
        let offsets = |entries: Vec<AckEntry>| entries.iter().map(|entry| entry.offset.0).collect::<Vec<_>>();
        assert_eq!(offsets(flow.take_behind(2)), [2, 3]);
        assert!(!flow.all_has_arrived());
        flow.grant(&credit(0, 0, 1));
        assert_eq!(offsets(flow.take_behind(0)), [1]);
        assert!(flow.all_has_arrived());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_waits_while_all_others_hold_too_much_and_looks_again() {
        let references = References::new(Gauge::default());
        let stream = || Flow::new(&credit(2000, 1 << 20, 0), references.clone());
        let waiting = stream();
        let others: Vec<Flow> = (0..STREAM_REFERENCES_MAX / 2000).map(|_| stream()).collect();
        for other in &others {
            other.pushed(entries(2000));
        }
        let before = waiting.share().expect("something is left for one that holds nothing");
        assert!(usize::from(before.messages) < STREAM_RECEIVE_MESSAGES_MAX, "{before:?}");
        waiting.settle(before, usize::from(before.messages), 1);
        waiting.pushed(entries(before.messages.into()));
        assert_eq!(waiting.share(), None);
        drop(others);
        // Nobody told it.
        waiting.more().await;
        assert!(waiting.share().is_some());
        drop(waiting);
        assert!(references.allowed() >= STREAM_CREDIT_MESSAGES_MAX, "nothing is held");
    }
    #[tokio::test(start_paused = true)]
    async fn one_that_never_says_what_arrived_is_known_once_it_takes_the_room_of_others() {
        let references = References::new(Gauge::default());
        let stream = || Flow::new(&credit(u64::MAX, u64::MAX, 0), references.clone());
        let (silent, small) = (stream(), stream());
        silent.pushed(entries(STREAM_CREDIT_MESSAGES_MAX));
        small.pushed(entries(1));
        tokio::time::advance(SILENT_AFTER).await;
        assert!(!silent.crowds_others(), "there is room enough");
        let others: Vec<Flow> = (0..60).map(|_| stream()).collect();
        for other in &others {
            other.pushed(entries(STREAM_CREDIT_MESSAGES_MAX));
        }
        assert!(silent.crowds_others() && !small.crowds_others() && !others[0].crowds_others());
        tokio::time::advance(SILENT_AFTER).await;
        others[1].grant(&credit(0, 0, 1));
        others[1].pushed(entries(STREAM_CREDIT_MESSAGES_MAX));
        assert!(others[0].crowds_others() && !others[1].crowds_others());
        drop(others);
        assert!(silent.crowds_others(), "it was said so");
    }
}
