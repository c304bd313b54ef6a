//! Answers on their way from the tasks of a stream to its connection.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use tercet_proto::client::v1::{ConsumeAnswer, End, consume_answer::Content};
use tokio::sync::mpsc;
use tonic::Status;

use super::super::{answers::Room, receive_items::Gone};

/// Answers between the tasks and the connection; a batch each, so few.
const ANSWERS_AHEAD: usize = 4;

type Item = (ConsumeAnswer, Option<Room>);

/// The end that the connection takes from.
#[derive(Debug)]
pub(super) struct Answers(mpsc::Receiver<Item>);

/// The end of the tasks.
#[derive(Debug)]
pub(super) struct Outgoing(mpsc::Sender<Item>);

/// Room for the last answer, so that it waits for nobody.
#[derive(Debug)]
pub(super) struct Last(mpsc::OwnedPermit<Item>);

pub(super) fn channel() -> (Outgoing, Answers) {
    let (sender, receiver) = mpsc::channel(ANSWERS_AHEAD + 1);
    (Outgoing(sender), Answers(receiver))
}

fn answer(content: Content) -> ConsumeAnswer {
    ConsumeAnswer { content: Some(content) }
}

impl Outgoing {
    /// Once, before anything is said.
    pub(super) fn keep_room_for_the_end(&mut self) -> Last {
        Last(self.0.clone().try_reserve_owned().expect("nothing was said yet, and the other end is not served yet"))
    }

    /// Hands an answer over, once there is room for it, with the room that it takes in memory.
    pub(super) async fn say(&self, content: Content, room: Option<Room>) -> Result<(), Gone> {
        self.0.send((answer(content), room)).await.map_err(|_| Gone)
    }

    /// Returns when the client went away.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

impl Last {
    /// Says why the stream ends, behind everything that was said.
    pub(super) fn say(self, end: End) {
        drop(self.0.send((answer(Content::End(end)), None)));
    }
}

impl Stream for Answers {
    type Item = Result<ConsumeAnswer, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|item| item.map(|(answer, _room)| Ok(answer)))
    }
}

#[cfg(test)]
mod tests {
    use tercet_proto::client::v1::Settled;
    use tokio_stream::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn the_end_is_said_although_nobody_reads() {
        let (mut out, answers) = channel();
        let last = out.keep_room_for_the_end();
        for _ in 0..ANSWERS_AHEAD {
            out.say(Content::Settled(Settled::default()), None).await.expect("room");
        }
        let more = out.say(Content::Settled(Settled::default()), None);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(10), more).await.is_err(), "it waits");
        last.say(End::default());
        drop(out);
        let said: Vec<_> = answers.collect().await;
        assert_eq!(said.len(), ANSWERS_AHEAD + 1);
        let last = said.into_iter().last().expect("the end").expect("no error").content;
        assert!(matches!(last, Some(Content::End(_))));
    }
}
