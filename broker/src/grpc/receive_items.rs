//! The items of an answer to a receive, on their way from the task that makes them to the connection.
//!
//! ```text
//!   task ─► Sender ─► at most ITEMS_AHEAD items ─► Items ─► connection
//!     ▲                                             │
//!     └────────── how many messages were taken ◄────┘
//! ```
//! A message that waits here when the client goes away, or when the answer is cut short, has not left this node, and is
//! given back.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::Stream;
use tercet_proto::rocketmq::v2::{ReceiveMessageResponse, receive_message_response::Content};
use tokio::sync::mpsc;
use tonic::Status;

use super::answers::Room;
use crate::listen::Load;

pub(super) type Item = Result<ReceiveMessageResponse, Status>;

/// Items between the task and the connection; a message each, so few.
const ITEMS_AHEAD: usize = 4;

/// The client went away, or was cut off because it read no longer.
#[derive(Debug)]
pub(super) struct Gone;

/// What the connection has taken.
#[derive(Debug, Default)]
struct Taken {
    messages: usize,
    /// Cut short: no further message leaves, and this is the last item.
    cut: Option<Content>,
    /// The last item was taken, behind which nothing comes.
    ended: bool,
}

/// The end that the connection takes from.
#[derive(Debug)]
pub struct Items {
    items: mpsc::Receiver<(Item, Option<Room>)>,
    taken: Arc<Mutex<Taken>>,
}

/// The end of the task.
#[derive(Debug)]
pub(super) struct Sender {
    items: mpsc::Sender<(Item, Option<Room>)>,
    taken: Arc<Mutex<Taken>>,
    connection: Option<Arc<Load>>,
}

/// An empty answer, on a connection that is the client's own, if it is known.
pub(super) fn answer(connection: Option<Arc<Load>>) -> (Sender, Items) {
    let (sender, items) = mpsc::channel(ITEMS_AHEAD);
    let taken = Arc::<Mutex<Taken>>::default();
    (Sender { items: sender, taken: Arc::clone(&taken), connection }, Items { items, taken })
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

fn content(content: Content) -> Item {
    Ok(ReceiveMessageResponse { content: Some(content) })
}

impl Stream for Items {
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let this = self.get_mut();
        // Held until the item is counted: an answer is cut either before it or behind it.
        let mut taken = lock(&this.taken);
        while !taken.ended {
            let item = match this.items.poll_recv(cx) {
                Poll::Pending if taken.cut.is_none() => return Poll::Pending,
                Poll::Ready(Some((item, _room))) => item,
                Poll::Pending | Poll::Ready(None) => {
                    taken.ended = true;
                    return Poll::Ready(taken.cut.take().map(content));
                }
            };
            if let Ok(ReceiveMessageResponse { content: Some(content) }) = &item {
                match content {
                    Content::Message(_) if taken.cut.is_some() => continue,
                    Content::Message(_) => taken.messages += 1,
                    // The answer's end leaves with it, and does not wait for the task to notice.
                    Content::DeliveryTimestamp(_) => taken.ended = true,
                    Content::Status(_) => {}
                }
            }
            return Poll::Ready(Some(item));
        }
        Poll::Ready(None)
    }
}

impl Sender {
    /// Hands an item over, once there is room for it in the line, with the room that it takes in memory.
    pub(super) async fn send(&self, item: Item, room: Option<Room>) -> Result<(), Gone> {
        self.items.send((item, room)).await.map_err(|_| Gone)
    }

    /// Whether an item would have to wait for the connection.
    pub(super) fn is_full(&self) -> bool {
        self.items.capacity() == 0
    }

    /// Returns when the client went away.
    pub(super) async fn closed(&self) {
        self.items.closed().await;
    }

    /// Returns when the connection has taken everything, these messages among it.
    pub(super) async fn drained(&self, messages: usize) -> Result<(), Gone> {
        match self.items.reserve_many(ITEMS_AHEAD).await {
            Ok(_) => Ok(()),
            // It leaves when it has all of it.
            Err(_) if self.messages_taken() == messages => Ok(()),
            Err(_) => Err(Gone),
        }
    }

    /// The client's own connection, if it is known.
    pub(super) fn connection(&self) -> Option<&Load> {
        self.connection.as_deref()
    }

    /// How many messages the connection has taken.
    pub(super) fn messages_taken(&self) -> usize {
        lock(&self.taken).messages
    }

    /// Cuts the answer short behind what the connection has taken, with this as its end; says how many messages that is.
    pub(super) fn cut(self, last: Content) -> usize {
        let mut taken = lock(&self.taken);
        taken.cut = Some(last);
        taken.messages
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use tercet_proto::rocketmq::v2::Message;
    use tokio_stream::StreamExt as _;

    use super::*;

    fn message() -> Item {
        content(Content::Message(Message::default()))
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_short_still_has_its_status_and_its_end() {
        for (taken, messages) in [(0, 0), (1, 0), (2, 1)] {
            let (sender, mut items) = answer(None);
            sender.send(content(Content::Status(Default::default())), None).await.expect("room");
            for _ in 0..3 {
                sender.send(message(), None).await.expect("room");
            }
            for _ in 0..taken {
                items.next().await.expect("an item").expect("no error");
            }
            assert_eq!(sender.cut(Content::DeliveryTimestamp(Timestamp::default())), messages);
            let rest: Vec<Item> = items.collect().await;
            assert_eq!(rest.len(), if taken == 0 { 2 } else { 1 }, "no message is among it");
            let last = rest.into_iter().last().expect("the end").expect("no error").content;
            assert!(matches!(last, Some(Content::DeliveryTimestamp(_))));
        }
    }

    #[tokio::test]
    async fn what_waits_when_the_client_goes_is_not_taken() {
        let (sender, mut items) = answer(None);
        for _ in 0..3 {
            sender.send(message(), None).await.expect("room");
        }
        items.next().await.expect("the first").expect("a message");
        drop(items);
        assert!(sender.drained(3).await.is_err());
        assert_eq!(sender.messages_taken(), 1);
    }

    #[tokio::test]
    async fn an_answer_that_is_read_is_drained() {
        let (sender, items) = answer(None);
        let reader = tokio::spawn(items.collect::<Vec<_>>());
        for _ in 0..9 {
            sender.send(message(), None).await.expect("room");
        }
        sender.send(content(Content::DeliveryTimestamp(Timestamp::default())), None).await.expect("room");
        assert_eq!(reader.await.expect("no panic").len(), 10, "it ends although the sender lives");
        sender.drained(9).await.expect("read");
        assert_eq!(sender.messages_taken(), 9);
    }
}
