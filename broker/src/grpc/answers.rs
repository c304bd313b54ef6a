//! Room for the bodies of answers: what a node holds for those who read slowly is bounded, for each connection and in all.
//!
//! Room is taken until the connection has taken the message. Who waits here waits for others to read or to be cut off, which
//! takes no longer than `listen::UNREAD_MAX`; while room is scarce, one whose client takes nothing for a moment loses it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{ANSWERS_BYTES_MAX, CONNECTION_ANSWERS_BYTES_MAX};

/// Room is counted in this many bytes.
const UNIT: usize = 1 << 10;

/// Room for answers.
#[derive(Debug)]
pub struct Answers(Arc<Semaphore>);

/// Room that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Room {
    here: OwnedSemaphorePermit,
    connection: Option<OwnedSemaphorePermit>,
}

impl Answers {
    /// For a whole node.
    pub(crate) fn of_node() -> Answers {
        Answers(Arc::new(Semaphore::new(ANSWERS_BYTES_MAX / UNIT)))
    }

    /// For one connection.
    pub(crate) fn of_connection() -> Answers {
        Answers(Arc::new(Semaphore::new(CONNECTION_ANSWERS_BYTES_MAX / UNIT)))
    }

    /// Waits for room for so many bytes here and, unless it is shared by many clients, on the connection.
    pub(super) async fn room(&self, connection: Option<&Answers>, bytes: usize) -> Room {
        let connection = match connection {
            Some(answers) => Some(answers.take(bytes).await),
            None => None,
        };
        Room { here: self.take(bytes).await, connection }
    }

    /// Room for so many bytes here that are there already; nothing if there is none, which makes it scarce.
    pub(super) fn try_room(&self, bytes: usize) -> Option<Room> {
        let here = Arc::clone(&self.0).try_acquire_many_owned(units(bytes)).ok()?;
        Some(Room { here, connection: None })
    }

    /// Whether less than half of the room is left.
    pub(super) fn is_scarce(&self) -> bool {
        self.0.available_permits() < ANSWERS_BYTES_MAX / UNIT / 2
    }

    async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        Arc::clone(&self.0).acquire_many_owned(units(bytes)).await.expect("it is never closed")
    }
}

/// An answer of one large message must pass.
fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.min(CONNECTION_ANSWERS_BYTES_MAX).div_ceil(UNIT)).expect("some thousand")
}

impl Room {
    /// The part of it that so many bytes take, or what there is.
    pub(super) fn part(&mut self, bytes: usize) -> Room {
        let part = |of: &mut OwnedSemaphorePermit| {
            let units = (units(bytes) as usize).min(of.num_permits());
            of.split(units).expect("no more than there are")
        };
        Room { here: part(&mut self.here), connection: self.connection.as_mut().map(part) }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_connection_waits_for_itself_and_leaves_room_for_others() {
        let (node, load, other) = (Answers::of_node(), Answers::of_connection(), Answers::of_connection());
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
        assert!(node.is_scarce() && node.room(None, 1).now_or_never().is_none());
        taken.pop();
        assert!(node.room(None, 1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn each_message_has_its_part_of_the_room() {
        let (node, load) = (Answers::of_node(), Answers::of_connection());
        let whole = CONNECTION_ANSWERS_BYTES_MAX;
        let mut room = node.room(Some(&load), whole).await;
        let parts = [room.part(whole / 2), room.part(whole)];
        drop(room);
        assert!(node.room(Some(&load), 1).now_or_never().is_none(), "the messages have all of it");
        drop(parts);
        assert!(node.room(Some(&load), whole).now_or_never().is_some() && !node.is_scarce());
    }
}
