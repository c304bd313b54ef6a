//! What may be pushed, and what was pushed and has not arrived as far as is known.
//!
//! ```text
//!   granted ─► credit ─► share of a receive ─► what it brought: a batch, not arrived ─► arrived
//!                 ▲            │ what it did not bring
//!                 └────────────┘
//! ```
//! Invariants: what is shared out and not settled was taken from the credit; what has not arrived is bounded, because
//! nothing is shared out beyond the bound.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tercet_proto::client::v1::Credit;
use tokio::sync::Notify;

use crate::{
    limits::{STREAM_CREDIT_BYTES_MAX, STREAM_CREDIT_MESSAGES_MAX, STREAM_RECEIVE_MESSAGES_MAX},
    state::AckEntry,
};

/// Bytes that one receive asks for at most.
const SHARE_BYTES_MAX: i64 = 1 << 20;

/// The flow of one stream.
#[derive(Debug)]
pub(super) struct Flow {
    state: Mutex<State>,
    more: Notify,
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
}

/// The part of the credit that a receive may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) messages: u16,
    pub(super) bytes: u32,
}

impl Flow {
    pub(super) fn new(credit: &Credit) -> Flow {
        let flow = Flow { state: Mutex::default(), more: Notify::new() };
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
            state.pushed_messages -= entries.len() as u64;
        }
        drop(state);
        self.more.notify_one();
    }

    /// Takes a share, if there is credit. It must be settled.
    pub(super) fn share(&self) -> Option<Share> {
        let mut state = self.lock();
        let room = STREAM_CREDIT_MESSAGES_MAX.saturating_sub(state.pushed_messages);
        let messages = state.messages.min(room).min(STREAM_RECEIVE_MESSAGES_MAX as u64);
        let bytes = state.bytes.min(SHARE_BYTES_MAX);
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
        state.pushed.push_back((number, entries));
        number
    }

    /// The highest number that a client can know.
    pub(super) fn last(&self) -> u64 {
        self.lock().last
    }

    /// Everything that has not arrived as far as is known.
    pub(super) fn take_pushed(&self) -> Vec<AckEntry> {
        std::mem::take(&mut self.lock().pushed).into_iter().flat_map(|(_, entries)| entries).collect()
    }

    /// Returns when there may be more to share out; for one caller.
    pub(super) async fn more(&self) {
        self.more.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use raft_log::types::UnixMillis;

    use super::*;
    use crate::model::{QueueId, QueueOffset};

    fn credit(messages: u64, bytes: u64, arrived: u64) -> Credit {
        Credit { messages, bytes, arrived }
    }

    fn entries(count: u64) -> Vec<AckEntry> {
        let entry =
            |offset| AckEntry { queue: QueueId(0), offset: QueueOffset(offset), nonce: 1, deadline: UnixMillis(1) };
        (0..count).map(entry).collect()
    }

    #[test]
    fn nothing_is_shared_out_beyond_the_credit() {
        let flow = Flow::new(&credit(1200, 10 << 20, 0));
        let first = flow.share().expect("credit");
        assert_eq!((first.messages, first.bytes), (1024, 1 << 20));
        assert_eq!(flow.share().expect("the rest").messages, 176);
        assert_eq!(flow.share(), None);
        flow.settle(first, 1012, 1000);
        assert_eq!(flow.share().expect("what was not used").messages, 12);
    }

    #[test]
    fn one_large_message_passes_and_is_owed() {
        let flow = Flow::new(&credit(10, 1, 0));
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
        let flow = Flow::new(&credit(u64::MAX, u64::MAX, 0));
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
        let flow = Flow::new(&credit(u64::MAX, u64::MAX, 0));
        assert_eq!((flow.pushed(entries(3)), flow.pushed(entries(2)), flow.last()), (1, 2, 2));
        flow.grant(&credit(0, 0, 1));
        assert_eq!(flow.take_pushed().len(), 2);
        let flow = Flow::new(&credit(u64::MAX, u64::MAX, 0));
        flow.pushed(entries(STREAM_CREDIT_MESSAGES_MAX - 5));
        assert_eq!(flow.share().expect("room for five").messages, 5);
        flow.pushed(entries(5));
        flow.grant(&credit(u64::MAX, 0, 0));
        assert_eq!(flow.share(), None);
        flow.grant(&credit(0, 0, 1));
        assert!(flow.share().is_some());
    }
}
