//! Room for the bodies of answers: what a node holds for those who read slowly is bounded, for each connection and in all.
//!
//! Who waits here waits for others to read or to be cut off, which takes no longer than `listen::UNREAD_MAX`.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    limits::{ANSWERS_BYTES_MAX, CONNECTION_ANSWERS_BYTES_MAX},
    listen::Load,
};

/// Room is counted in this many bytes.
const UNIT: usize = 1 << 10;

/// Room for answers.
#[derive(Debug)]
pub struct Answers(Semaphore);

/// Room that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Room<'a> {
    _here: SemaphorePermit<'a>,
    _connection: Option<SemaphorePermit<'a>>,
}

impl Answers {
    /// For a whole node.
    pub(crate) fn of_node() -> Answers {
        Answers(Semaphore::new(ANSWERS_BYTES_MAX / UNIT))
    }

    /// For one connection.
    pub(crate) fn of_connection() -> Answers {
        Answers(Semaphore::new(CONNECTION_ANSWERS_BYTES_MAX / UNIT))
    }

    /// Waits for room for so many bytes here and, unless it is shared by many clients, on the connection.
    pub(super) async fn room<'a>(&'a self, connection: Option<&'a Load>, bytes: usize) -> Room<'a> {
        let of_connection = match connection {
            Some(load) => Some(load.answers().take(bytes).await),
            None => None,
        };
        Room { _here: self.take(bytes).await, _connection: of_connection }
    }

    async fn take(&self, bytes: usize) -> SemaphorePermit<'_> {
        // An answer of one large message must pass.
        let units = bytes.min(CONNECTION_ANSWERS_BYTES_MAX).div_ceil(UNIT);
        let units = u32::try_from(units).expect("some thousand");
        self.0.acquire_many(units).await.expect("it is never closed")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_connection_waits_for_itself_and_leaves_room_for_others() {
        let (node, load, other) = (Answers::of_node(), Arc::new(Load::new()), Arc::new(Load::new()));
        let whole = node.room(Some(&load), CONNECTION_ANSWERS_BYTES_MAX).await;
        assert!(node.room(Some(&load), 1).now_or_never().is_none());
        assert!(node.room(Some(&other), 1 << 20).now_or_never().is_some());
        drop(whole);
        assert!(node.room(Some(&load), usize::MAX).now_or_never().is_some(), "the largest passes alone");
    }

    #[tokio::test]
    async fn all_together_wait_for_each_other() {
        let node = Answers::of_node();
        let mut taken = Vec::new();
        for _ in 0..ANSWERS_BYTES_MAX / CONNECTION_ANSWERS_BYTES_MAX {
            taken.push(node.room(None, CONNECTION_ANSWERS_BYTES_MAX).await);
        }
        assert!(node.room(None, 1).now_or_never().is_none());
        taken.pop();
        assert!(node.room(None, 1).now_or_never().is_some());
    }
}
