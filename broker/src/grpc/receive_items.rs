//! The items of an answer to a receive, on their way from the task that makes them to the connection.
//!
//! ```text
//!   task ─► Sender ─► at most ITEMS_AHEAD places ─► Items ─► connection
//!     ▲                                             │
//!     └────────── how many messages were taken ◄────┘
//! ```
//! A message that waits here when the client goes away, or when the answer is cut short, has not left this node, and is
//! given back. It is let go at once then, with the room that it takes: who reads nothing does not look for its end either.

use std::{
    collections::VecDeque,
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

/// Places between the task and the connection: for as many small items as one answer to most official clients has, so that it
/// leaves in a few pieces.
const ITEMS_AHEAD: usize = 32;
/// A message takes a place for so many bytes, and at most [`PLACES_MAX`]: whoever reads slowly holds few large ones.
const BYTES_PER_PLACE: usize = 8 << 10;
const PLACES_MAX: usize = 8;

/// The client went away, or was cut off because it read no longer.
#[derive(Debug)]
pub(super) struct Gone;

/// What waits, and what the connection has taken.
#[derive(Debug, Default)]
struct Taken {
    /// As many as there are places taken in the line; a message that was let go is nothing, and so are the further places of a large
    /// one.
    waiting: VecDeque<Option<(Item, Option<Room>)>>,
    messages: usize,
    /// Cut short: no further message leaves, and this is the last item.
    cut: Option<Content>,
    /// The last item was taken, behind which nothing comes.
    ended: bool,
}

/// The end that the connection takes from.
#[derive(Debug)]
pub struct Items {
    places: mpsc::Receiver<()>,
    taken: Arc<Mutex<Taken>>,
}

/// The end of the task.
#[derive(Debug)]
pub(super) struct Sender {
    places: mpsc::Sender<()>,
    taken: Arc<Mutex<Taken>>,
    connection: Option<Arc<Load>>,
}

/// An empty answer, on a connection that is the client's own, if it is known.
pub(super) fn answer(connection: Option<Arc<Load>>) -> (Sender, Items) {
    let (sender, places) = mpsc::channel(ITEMS_AHEAD);
    let taken = Arc::<Mutex<Taken>>::default();
    (Sender { places: sender, taken: Arc::clone(&taken), connection }, Items { places, taken })
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The places that an item takes in the line.
fn places(item: &Item) -> usize {
    match item {
        Ok(ReceiveMessageResponse { content: Some(Content::Message(message)) }) => {
            (1 + message.body.len() / BYTES_PER_PLACE).min(PLACES_MAX)
        }
        _ => 1,
    }
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
            let item = match this.places.poll_recv(cx) {
                Poll::Pending if taken.cut.is_none() => return Poll::Pending,
                Poll::Ready(Some(())) => match taken.waiting.pop_front().expect("one for each place") {
                    Some((item, _room)) => item,
                    None => continue,
                },
                Poll::Pending | Poll::Ready(None) => {
                    taken.ended = true;
                    return Poll::Ready(taken.cut.take().map(content));
                }
            };
            if let Ok(ReceiveMessageResponse { content: Some(content) }) = &item {
                match content {
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

impl Drop for Items {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        self.places.close();
        taken.waiting.clear();
    }
}

impl Sender {
    /// Hands an item over, once there is room for it in the line, with the room that it takes in memory.
    pub(super) async fn send(&self, item: Item, room: Option<Room>) -> Result<(), Gone> {
        let places = self.places.reserve_many(places(&item)).await.map_err(|_| Gone)?;
        let mut taken = lock(&self.taken);
        if self.places.is_closed() {
            return Err(Gone);
        }
        let mut item = Some((item, room));
        for place in places {
            taken.waiting.push_back(item.take());
            place.send(());
        }
        Ok(())
    }

    /// How many places are taken by what waits for the connection.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.taken).waiting.len()
    }

    /// Whether an item may have to wait for the connection.
    pub(super) fn is_full(&self) -> bool {
        self.places.capacity() < PLACES_MAX
    }

    /// Returns when the client went away.
    pub(super) async fn closed(&self) {
        self.places.closed().await;
    }

    /// Returns when the connection has taken everything, these messages among it.
    pub(super) async fn drained(&self, messages: usize) -> Result<(), Gone> {
        match self.places.reserve_many(ITEMS_AHEAD).await {
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
        for place in &mut taken.waiting {
            place
                .take_if(|(item, _)| matches!(item, Ok(ReceiveMessageResponse { content: Some(Content::Message(_)) })));
        }
        taken.messages
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use prost_types::Timestamp;
    use tercet_proto::rocketmq::v2::Message;
    use tokio_stream::StreamExt as _;

    use super::{super::answers::Answers, *};
    use crate::limits::CONNECTION_ANSWERS_BYTES_MAX;

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

    /// The connection does not look for its end before the client reads.
    #[tokio::test]
    async fn what_waits_takes_no_room_behind_a_cut_and_when_the_client_has_gone() {
        let (node, few) = (Answers::of_node(), 4);
        let waiting = async || {
            let (sender, items) = answer(None);
            for _ in 0..few {
                let room = node.room(None, CONNECTION_ANSWERS_BYTES_MAX).await;
                sender.send(message(), Some(room)).await.expect("a place");
            }
            (sender, items)
        };
        let (sender, items) = waiting().await;
        assert_eq!((sender.waiting(), node.is_scarce()), (few, true));
        assert_eq!(sender.cut(Content::DeliveryTimestamp(Timestamp::default())), 0);
        assert!(!node.is_scarce());
        drop(items);
        let (sender, items) = waiting().await;
        drop(items);
        assert!(!node.is_scarce());
        assert!(sender.send(message(), None).await.is_err());
    }

    /// However large each of them is, a client that does not read makes a node hold few.
    #[tokio::test]
    async fn few_large_items_wait_and_many_small_ones() {
        for (bytes, ahead) in [(0, 32), (BYTES_PER_PLACE - 1, 32), (BYTES_PER_PLACE, 16), (1 << 20, 4)] {
            let (sender, items) = answer(None);
            let large = || {
                let body = vec![0; bytes].into();
                content(Content::Message(Message { body, ..Message::default() }))
            };
            for _ in 0..ahead {
                sender.send(large(), None).now_or_never().expect("a place").expect("not gone");
            }
            assert!(sender.send(large(), None).now_or_never().is_none(), "{ahead} of {bytes} bytes wait");
            let read = tokio::spawn(items.collect::<Vec<_>>());
            sender.drained(ahead).await.expect("read");
            drop(sender);
            assert_eq!(read.await.expect("no panic").len(), ahead);
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
