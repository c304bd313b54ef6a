//! The items of an answer to a receive, on their way from the task that makes them to the connection.
//!
//! ```text
//!   task ─► Sender ─► at most ITEMS_AHEAD items ─► Items ─► connection
//!     ▲                                             │
//!     └────────── how many messages were taken ◄────┘
//! ```
//! A message that waits here when the client goes away has not left this node, and is given back.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::Stream;
use tercet_proto::rocketmq::v2::{ReceiveMessageResponse, receive_message_response::Content};
use tokio::sync::mpsc;
use tonic::Status;

use crate::listen::Load;

type Item = Result<ReceiveMessageResponse, Status>;

/// Items between the task and the connection; a message each, so few.
const ITEMS_AHEAD: usize = 4;

/// The client went away, or was cut off because it read no longer.
#[derive(Debug)]
pub(super) struct Gone;

/// The end that the connection takes from.
#[derive(Debug)]
pub struct Items {
    items: mpsc::Receiver<Item>,
    messages_taken: Arc<AtomicUsize>,
    /// The delivery timestamp was taken, behind which nothing comes.
    ended: bool,
}

/// The end of the task.
#[derive(Debug)]
pub(super) struct Sender {
    items: mpsc::Sender<Item>,
    messages_taken: Arc<AtomicUsize>,
    connection: Option<Arc<Load>>,
}

/// An empty answer, on a connection that is the client's own, if it is known.
pub(super) fn answer(connection: Option<Arc<Load>>) -> (Sender, Items) {
    let (sender, items) = mpsc::channel(ITEMS_AHEAD);
    let messages_taken = Arc::new(AtomicUsize::new(0));
    (
        Sender { items: sender, messages_taken: Arc::clone(&messages_taken), connection },
        Items { items, messages_taken, ended: false },
    )
}

impl Stream for Items {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let item = self.items.poll_recv(cx);
        if let Poll::Ready(Some(Ok(ReceiveMessageResponse { content: Some(content) }))) = &item {
            match content {
                Content::Message(_) => {
                    self.messages_taken.fetch_add(1, Ordering::Relaxed);
                }
                // The answer's end leaves with it, and does not wait for the task to notice.
                Content::DeliveryTimestamp(_) => self.ended = true,
                Content::Status(_) => {}
            }
        }
        item
    }
}

impl Sender {
    /// Hands an item over, once there is room.
    pub(super) async fn send(&self, item: Item) -> Result<(), Gone> {
        self.items.send(item).await.map_err(|_| Gone)
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
        self.messages_taken.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use tercet_proto::rocketmq::v2::Message;
    use tokio_stream::StreamExt as _;

    use super::*;

    fn message() -> Item {
        Ok(ReceiveMessageResponse { content: Some(Content::Message(Message::default())) })
    }

    #[tokio::test]
    async fn what_waits_when_the_client_goes_is_not_taken() {
        let (sender, mut items) = answer(None);
        for _ in 0..3 {
            sender.send(message()).await.expect("room");
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
            sender.send(message()).await.expect("room");
        }
        sender
            .send(Ok(ReceiveMessageResponse { content: Some(Content::DeliveryTimestamp(Timestamp::default())) }))
            .await
            .expect("room");
        assert_eq!(reader.await.expect("no panic").len(), 10, "it ends although the sender lives");
        sender.drained(9).await.expect("read");
        assert_eq!(sender.messages_taken(), 9);
    }
}
