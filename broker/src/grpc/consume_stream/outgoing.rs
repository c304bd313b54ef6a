//! Answers on their way from the tasks of a stream to its connection.
//!
//! ```text
//!   tasks ─► Outgoing ─► at most ANSWERS_AHEAD answers ─► Answers ─► connection
//!     ▲                                                      │
//!     └──────── which batch the connection has taken ◄───────┘
//! ```
//! A batch that waits here when the stream is cut has not left this node, and never does: it is given back, and let go at
//! once with the room that it takes, whether or not the client reads. One that the connection has taken is the client's.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::Stream;
use tercet_proto::client::v1::{ConsumeAnswer, End, consume_answer::Content};
use tokio::sync::{Notify, mpsc};
use tonic::Status;

use super::super::{answers::Room, receive_items::Gone};

/// Answers between the tasks and the connection; a batch each, so few.
const ANSWERS_AHEAD: usize = 4;

#[derive(Debug)]
struct Waiting {
    content: Content,
    room: Option<Room>,
}

/// What waits, and what the connection has taken.
#[derive(Debug, Default)]
struct Line {
    /// As many as there are places taken in the line; a batch that was withdrawn is nothing.
    waiting: VecDeque<Option<Waiting>>,
    /// How many answers were taken.
    taken: u64,
    /// The number of the last batch that was taken; 0 for none.
    last_batch: u64,
    /// No further batch leaves.
    cut: bool,
    /// The end was taken, behind which nothing comes.
    ended: bool,
}

/// The end that the connection takes from.
#[derive(Debug)]
pub(super) struct Answers {
    places: mpsc::Receiver<()>,
    line: Arc<Mutex<Line>>,
}

/// The end of the tasks.
#[derive(Debug)]
pub(super) struct Outgoing {
    places: mpsc::Sender<()>,
    line: Arc<Mutex<Line>>,
    /// An answer that takes room waits.
    waits: Notify,
}

/// A place for one answer.
#[derive(Debug)]
pub(super) struct Place<'a> {
    place: mpsc::Permit<'a, ()>,
    out: &'a Outgoing,
}

/// Room for the last answer, so that it waits for nobody.
#[derive(Debug)]
pub(super) struct Last {
    place: mpsc::OwnedPermit<()>,
    line: Arc<Mutex<Line>>,
}

/// The last answer has its room from the beginning: later the other end may have gone before anything is said.
pub(super) fn channel() -> (Outgoing, Last, Answers) {
    let (sender, places) = mpsc::channel(ANSWERS_AHEAD + 1);
    let line = Arc::<Mutex<Line>>::default();
    let place = sender.clone().try_reserve_owned().expect("both ends are here, and nothing was said");
    let last = Last { place, line: Arc::clone(&line) };
    (Outgoing { places: sender, line: Arc::clone(&line), waits: Notify::new() }, last, Answers { places, line })
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outgoing {
    /// Hands an answer over, once there is a place for it, with the room that it takes in memory.
    pub(super) async fn say(&self, content: Content, room: Option<Room>) -> Result<(), Gone> {
        self.place().await?.say(content, room)
    }

    /// Waits for a place.
    pub(super) async fn place(&self) -> Result<Place<'_>, Gone> {
        let place = self.places.reserve().await.map_err(|_| Gone)?;
        Ok(Place { place, out: self })
    }

    /// How many answers the connection has taken, if others that take room wait for it.
    pub(super) fn stands_at(&self) -> Option<u64> {
        let line = lock(&self.line);
        let holds = line.waiting.iter().flatten().any(|waiting| waiting.room.is_some());
        holds.then_some(line.taken)
    }

    /// Returns as soon as an answer that takes room waits for the connection; for one caller.
    pub(super) async fn waits(&self) {
        while self.stands_at().is_none() {
            self.waits.notified().await;
        }
    }

    /// Withdraws the batches that wait, and lets no other leave; says which is the last that the connection has taken.
    pub(super) fn cut(&self) -> u64 {
        let mut line = lock(&self.line);
        line.cut = true;
        for place in &mut line.waiting {
            place.take_if(|waiting| matches!(waiting.content, Content::Batch(_)));
        }
        line.last_batch
    }

    /// Returns when the client went away.
    pub(super) async fn closed(&self) {
        self.places.closed().await;
    }
}

impl Place<'_> {
    /// Hands the answer over. Of a stream that is cut, no batch.
    pub(super) fn say(self, content: Content, room: Option<Room>) -> Result<(), Gone> {
        let mut line = lock(&self.out.line);
        if self.out.places.is_closed() || (line.cut && matches!(content, Content::Batch(_))) {
            return Err(Gone);
        }
        if room.is_some() {
            self.out.waits.notify_one();
        }
        line.waiting.push_back(Some(Waiting { content, room }));
        self.place.send(());
        Ok(())
    }
}

impl Last {
    /// Says why the stream ends, behind everything that was said.
    pub(super) fn say(self, end: End) {
        let mut line = lock(&self.line);
        line.waiting.push_back(Some(Waiting { content: Content::End(end), room: None }));
        drop(self.place.send(()));
    }
}

impl Stream for Answers {
    type Item = Result<ConsumeAnswer, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        // Held until the answer is counted: a stream is cut either before it or behind it.
        let mut line = lock(&this.line);
        while !line.ended {
            let waiting = match this.places.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(())) => line.waiting.pop_front().expect("one for each place"),
            };
            let Some(Waiting { content, room: _ }) = waiting else { continue };
            line.taken += 1;
            match &content {
                Content::Batch(batch) => line.last_batch = batch.number,
                Content::End(_) => line.ended = true,
                Content::Opened(_) | Content::Settled(_) => {}
            }
            return Poll::Ready(Some(Ok(ConsumeAnswer { content: Some(content) })));
        }
        Poll::Ready(None)
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        let mut line = lock(&self.line);
        self.places.close();
        line.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use tercet_proto::client::v1::{Batch, Settled};
    use tokio_stream::StreamExt as _;

    use super::{super::super::answers::Answers as Rooms, *};
    use crate::limits::CONNECTION_ANSWERS_BYTES_MAX;

    fn settled() -> Content {
        Content::Settled(Settled::default())
    }

    fn batch(number: u64) -> Content {
        Content::Batch(Batch { number, ..Batch::default() })
    }

    #[tokio::test]
    async fn the_end_is_said_although_nobody_reads() {
        let (out, last, answers) = channel();
        for _ in 0..ANSWERS_AHEAD {
            out.say(settled(), None).await.expect("room");
        }
        let more = out.say(settled(), None);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(10), more).await.is_err(), "it waits");
        last.say(End::default());
        // Though `out` lives.
        let said: Vec<_> = answers.collect().await;
        assert_eq!(said.len(), ANSWERS_AHEAD + 1);
        let last = said.into_iter().last().expect("the end").expect("no error").content;
        assert!(matches!(last, Some(Content::End(_))));
    }

    /// A client may go between its call and the first turn of whoever serves it; a panic would stop the node.
    #[tokio::test]
    async fn the_other_end_may_have_gone_before_anything_is_said() {
        let (out, last, answers) = channel();
        drop(answers);
        assert!(out.say(settled(), None).await.is_err());
        last.say(End::default());
    }

    /// What is given back must not be sent as well, and what is sent must not be given back.
    #[tokio::test]
    async fn a_batch_either_leaves_or_is_withdrawn() {
        for taken in 0..=3 {
            let (out, last, mut answers) = channel();
            for number in 1..=3 {
                out.say(batch(number), None).await.expect("a place");
            }
            out.say(settled(), None).await.expect("a place");
            for _ in 0..taken {
                answers.next().await.expect("a batch").expect("no error");
            }
            assert_eq!(out.cut(), taken);
            last.say(End::default());
            let rest: Vec<_> = answers.collect().await;
            let rest: Vec<_> = rest.into_iter().filter_map(|answer| answer.expect("no error").content).collect();
            assert!(matches!(rest[..], [Content::Settled(_), Content::End(_)]), "{rest:?}");
        }
    }

    #[tokio::test]
    async fn behind_a_cut_no_batch_leaves() {
        let (out, _last, mut answers) = channel();
        for number in 1..=ANSWERS_AHEAD as u64 {
            out.say(batch(number), None).await.expect("a place");
        }
        let mut late = Box::pin(out.say(batch(99), None));
        assert!(futures::poll!(&mut late).is_pending());
        assert_eq!(out.cut(), 0);
        assert!(futures::poll!(Box::pin(answers.next())).is_pending(), "the places are free");
        assert!(late.await.is_err());
        out.say(settled(), None).await.expect("other answers do leave");
    }

    /// Whether it is cut, or the client has gone, whom the connection may not notice before it reads.
    #[tokio::test]
    async fn what_waits_takes_no_room_behind_a_cut_and_when_the_client_has_gone() {
        let node = Rooms::of_node();
        for cut in [true, false] {
            let (out, _last, answers) = channel();
            assert_eq!(out.stands_at(), None);
            for number in 1..=ANSWERS_AHEAD as u64 {
                let room = node.room(None, CONNECTION_ANSWERS_BYTES_MAX).await;
                out.say(batch(number), Some(room)).await.expect("a place");
            }
            assert!(node.is_scarce());
            assert_eq!(out.stands_at(), Some(0));
            let _answers = if cut {
                out.cut();
                Some(answers)
            } else {
                drop(answers);
                None
            };
            assert!(!node.is_scarce());
            assert_eq!(out.stands_at(), None);
        }
    }
}
