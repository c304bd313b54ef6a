//! What the client sends up after it has opened the stream.

use std::time::Duration;

use futures::{StreamExt as _, stream::FuturesUnordered};
use prost::Message as _;
use tercet_proto::client::v1::{ConsumeRequest, Settle, consume_answer, consume_request::Content};
use tokio::{sync::SemaphorePermit, time::timeout};
use tonic::Streaming;

use super::{end, session::Session, settle};
use crate::listen::UNREAD_MAX;

/// Settles of one stream that are worked on at once; the others wait in the connection's window.
const SETTLES_MAX: usize = 16;
/// A stream that is over waits so long for each answer to be taken; and at a node that stops, for what has arrived to be said.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// Answers of at most so many bytes take no room of their own.
const SMALL_ANSWER_BYTES_MAX: usize = 1 << 10;

impl Session {
    /// Reads until the stream is over, or ends it when the client has ended its side and everything is answered.
    pub(super) async fn read(&self, requests: &mut Streaming<ConsumeRequest>) {
        let mut settling = FuturesUnordered::new();
        // One that waits for room: until it has that, nothing more is read.
        let mut next: Option<(Settle, u32)> = None;
        let mut open = true;
        while open || !settling.is_empty() {
            let messages = next.as_ref().map_or(0, |(_, messages)| *messages);
            tokio::select! {
                Some(()) = settling.next(), if !settling.is_empty() => {}
                room = self.node.streams.settling.acquire_many(messages), if open && next.is_some() => {
                    let (settle, _) = next.take().expect("looked at before");
                    settling.push(self.answer(settle, room.expect("it is never closed")));
                }
                request = requests.message(), if open && next.is_none() && settling.len() < SETTLES_MAX => {
                    match request.map(|request| request.map(|request| request.content)) {
                        Ok(Some(Some(Content::Settle(settle)))) => match settle::messages(&settle) {
                            Ok(messages) => next = Some((settle, messages)),
                            Err(why) => self.ending.set(end::bad_request(why)),
                        },
                        Ok(Some(Some(Content::Credit(credit)))) if credit.arrived <= self.flow.last() => {
                            self.flow.grant(&credit);
                        }
                        Ok(Some(Some(Content::Credit(_)))) => {
                            self.ending.set(end::bad_request("a batch is said to have arrived that was never pushed"));
                        }
                        Ok(Some(Some(Content::Open(_)) | None)) => {
                            self.ending.set(end::bad_request("after Open, a request is Credit or Settle"));
                        }
                        Ok(None) => open = false,
                        Err(_) => self.ending.set(end::gone()),
                    }
                }
                () = self.ending.over(), if open => open = false,
            }
        }
        self.ending.set(end::finished());
    }

    async fn answer(&self, settle: Settle, room: SemaphorePermit<'_>) {
        let settled = self.settle(&settle).await;
        // The client may be slow to take the answer.
        drop((settle, room));
        let settled = match settled {
            Ok(settled) => settled,
            Err(end) => return self.ending.set(end),
        };
        let said = async {
            let room = match settled.encoded_len() {
                0..=SMALL_ANSWER_BYTES_MAX => None,
                bytes => {
                    Some(self.node.answers.room(self.connection.as_deref().map(|load| load.answers()), bytes).await)
                }
            };
            self.out.say(consume_answer::Content::Settled(settled), room).await
        };
        let mut said = std::pin::pin!(said);
        tokio::select! {
            biased;
            _ = &mut said => return,
            () = self.ending.over() => {}
        }
        // Unanswered, it is asked for again.
        let _ = timeout(LAST_ANSWERS_WITHIN, said).await;
    }

    /// How long a client that reads what was said may take for it.
    async fn patience(&self) {
        // One that does not read is cut off meanwhile.
        let _ = timeout(UNREAD_MAX * 2, self.node.stop.cancelled()).await;
        tokio::time::sleep(LAST_ANSWERS_WITHIN).await;
    }

    /// The stream has ended, and its client may not have read all of it. Whoever stops to hear him resets the stream, and a client
    /// that learns so before it has read everything takes what it has not read for given back.
    pub(super) async fn hear_out(&self, requests: Streaming<ConsumeRequest>) {
        self.hear_until(requests, || false).await;
    }

    /// The stream has ended. Its client, if it is there, reads so, says what has arrived, and ends its side; what it does not
    /// say is given back then. Of one that neither speaks nor goes nothing is known: what it was sent comes again after its time.
    pub(super) async fn give_back_what_does_not_arrive(&self, requests: Streaming<ConsumeRequest>) {
        if self.hear_until(requests, || self.flow.all_has_arrived()).await {
            self.node.poll.give_back(&self.wanted, &self.flow.take_behind(0)).await;
        }
    }

    /// Hears what still comes on a stream that has ended, until that is enough or the client has ended its side. Answers whether
    /// it was heard to there.
    async fn hear_until(&self, mut requests: Streaming<ConsumeRequest>, enough: impl Fn() -> bool) -> bool {
        let mut patience = std::pin::pin!(self.patience());
        while !enough() {
            let request = tokio::select! {
                request = requests.message() => request,
                () = &mut patience => return false,
            };
            match request.map(|request| request.map(|request| request.content)) {
                Ok(Some(Some(Content::Credit(credit)))) if credit.arrived <= self.flow.last() => {
                    self.flow.grant(&credit);
                }
                // What becomes of messages is said again on the next stream.
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        true
    }
}
