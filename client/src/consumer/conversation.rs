//! One stream of one topic, from its opening to its end.

use std::time::Duration;

use tercet_proto::client::v1::{ConsumeRequest, Credit, End, consume_answer::Content, consume_request};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{
    buffer::Amount,
    received::ReceivedMessage,
    settling::{Fate, Order},
    worker::Worker,
};
use crate::{endpoint::Endpoint, transport::ConsumeStream};

/// Orders that are read at once.
const ORDERS_AT_ONCE: usize = 256;
/// A goodbye is not waited for longer.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// How a conversation ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The application has closed the consumer, and all is said.
    Closed,
    /// The node ended the stream.
    By(End),
    /// The stream broke, or another node leads.
    Broken(String),
}

impl Worker {
    /// Reads, grants and settles until the stream or the consumer ends.
    pub(super) async fn converse(&mut self, stream: ConsumeStream, node: &Endpoint) -> Ended {
        let ConsumeStream { requests, mut answers } = stream;
        self.settling.begin();
        let client = self.client.clone();
        let topic = std::sync::Arc::clone(&self.topic);
        let buffer = std::sync::Arc::clone(&self.buffer);
        let mut superseded = std::pin::pin!(client.superseded(&topic, node, Some(node)));
        let mut orders = Vec::new();
        let mut arrived = 0;
        let mut confirmed = 0;
        loop {
            if self.say(&requests, arrived, confirmed).await.is_err() {
                return Ended::Broken("the stream has ended".to_owned());
            }
            confirmed = arrived;
            let stale = buffer.oldest(self.source).map(|oldest| oldest + self.stale_after());
            tokio::select! {
                biased;
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => match answer.content {
                        Some(Content::Batch(batch)) => {
                            arrived = batch.number;
                            self.keep(batch);
                        }
                        Some(Content::Settled(settled)) => self.settling.answered(&settled),
                        Some(Content::End(end)) => return Ended::By(end),
                        Some(Content::Opened(_)) | None => {}
                    },
                    Ok(None) => return Ended::Broken("the node ended the stream without a word".to_owned()),
                    Err(status) => return Ended::Broken(status.message().to_owned()),
                },
                count = self.orders.recv_many(&mut orders, ORDERS_AT_ONCE), if self.settling.has_room() => {
                    if count == 0 {
                        return self.say_goodbye(requests, answers).await;
                    }
                    self.settling.push(orders.drain(..));
                }
                () = buffer.taken(self.source) => {}
                () = sleep_until(stale.unwrap_or_else(Instant::now)), if stale.is_some() => self.give_back_stale(),
                () = &mut superseded => return Ended::Broken("another node leads now".to_owned()),
            }
        }
    }

    /// Says what there is to say: room, what has arrived, and what becomes of messages.
    async fn say(&mut self, requests: &mpsc::Sender<ConsumeRequest>, arrived: u64, confirmed: u64) -> Result<(), ()> {
        let send = async |content| requests.send(ConsumeRequest { content: Some(content) }).await.map_err(drop);
        let Amount { messages, bytes } = self.buffer.take_released(self.source);
        // Before what is said of these messages.
        if messages > 0 || arrived > confirmed {
            send(consume_request::Content::Credit(Credit { messages, bytes, arrived })).await?;
        }
        while let Some(settle) = self.settling.next() {
            send(consume_request::Content::Settle(settle)).await?;
        }
        Ok(())
    }

    fn keep(&self, batch: tercet_proto::client::v1::Batch) {
        let amount = Amount { messages: batch.messages.len() as u64, bytes: batch.bytes };
        let (mut messages, mut broken) = (Vec::with_capacity(batch.messages.len()), None);
        for message in ReceivedMessage::of_batch(&self.topic, batch) {
            match message {
                Ok(message) => messages.push(message),
                // It comes again when its time has passed.
                Err(error) => broken = Some(error),
            }
        }
        self.buffer.put(self.source, amount, messages);
        if let Some(error) = broken {
            self.buffer.fail(self.source, error);
        }
    }

    /// What waited for long in the buffer comes again with all of its time, to whoever is faster; it did not count.
    fn give_back_stale(&mut self) {
        let references = self.buffer.take_stale(self.source, self.stale_after());
        self.give_back(references);
    }

    fn give_back(&mut self, references: Vec<super::received::Reference>) {
        let fate = Fate::Hidden { invisible_ms: 0, uncounted: true };
        let order = |some: &[_]| Order { references: some.to_vec(), fate, waiter: None };
        self.settling.push(references.chunks(super::settling::ORDER_MESSAGES_MAX).map(order));
    }

    /// Gives back what nobody took, has everything answered, and ends the stream.
    async fn say_goodbye(
        &mut self,
        requests: mpsc::Sender<ConsumeRequest>,
        mut answers: tonic::Streaming<tercet_proto::client::v1::ConsumeAnswer>,
    ) -> Ended {
        let references = self.buffer.take_stale(self.source, Duration::ZERO);
        self.give_back(references);
        let mut requests = Some(requests);
        let farewell = async {
            loop {
                if let Some(open) = &requests {
                    while let Some(settle) = self.settling.next() {
                        let settle = consume_request::Content::Settle(settle);
                        if open.send(ConsumeRequest { content: Some(settle) }).await.is_err() {
                            return;
                        }
                    }
                }
                if self.settling.is_idle() {
                    requests = None;
                }
                match answers.message().await {
                    Ok(Some(answer)) => {
                        if let Some(Content::Settled(settled)) = answer.content {
                            self.settling.answered(&settled);
                        }
                    }
                    Ok(None) | Err(_) => return,
                }
            }
        };
        // What is not answered then may come again.
        let _ = timeout(FAREWELL_MAX, farewell).await;
        Ended::Closed
    }
}
