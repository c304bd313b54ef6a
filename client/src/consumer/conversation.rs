//! One stream of one topic, from its opening to its end.

use std::time::Duration;

use tercet_proto::client::v1::{ConsumeAnswer, ConsumeRequest, End, consume_answer, consume_request::Content};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tonic::{Status, Streaming};

use super::worker::Worker;
use crate::{endpoint::Endpoint, transport::ConsumeStream};

/// Orders that are read at once.
const ORDERS_AT_ONCE: usize = 256;
/// A goodbye is not waited for longer.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// Nor a node that has ended the stream, or takes nothing more from it.
const PARTING_MAX: Duration = Duration::from_millis(500);

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
        let ConsumeStream { requests, mut answers, group, fifo } = stream;
        self.dialogue.begin(group, fifo);
        let client = self.client.clone();
        let topic = std::sync::Arc::clone(&self.topic);
        let buffer = std::sync::Arc::clone(&self.buffer);
        let mut superseded = std::pin::pin!(client.superseded(&topic, node, Some(node)));
        let mut orders = Vec::new();
        loop {
            for content in self.dialogue.say() {
                if say(&requests, content).await.is_err() {
                    return self.hear_out(answers).await;
                }
            }
            let stale = self.dialogue.stale_at();
            tokio::select! {
                biased;
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => {
                        if let Some(end) = answer.content.and_then(|content| self.dialogue.hear(content)) {
                            if part(requests, answers).await.is_err() {
                                self.dialogue.broke();
                            }
                            return Ended::By(end);
                        }
                    }
                    Ok(None) => return Ended::Broken("the node ended the stream without a word".to_owned()),
                    Err(status) => return Ended::Broken(status.message().to_owned()),
                },
                count = self.orders.recv_many(&mut orders, ORDERS_AT_ONCE), if self.dialogue.takes_orders() => {
                    if count == 0 {
                        return self.say_goodbye(requests, answers).await;
                    }
                    self.dialogue.order(orders.drain(..));
                }
                () = buffer.taken(self.source) => {}
                () = sleep_until(stale.unwrap_or_else(Instant::now)), if stale.is_some() => self.dialogue.give_back_stale(),
                () = &mut superseded => return Ended::Broken("another node leads now".to_owned()),
            }
        }
    }

    /// The node takes nothing more: perhaps it has said why.
    async fn hear_out(&mut self, mut answers: Streaming<ConsumeAnswer>) -> Ended {
        let end = async {
            while let Ok(Some(answer)) = answers.message().await {
                match answer.content {
                    // It cannot be told that it has arrived, and so it is given back.
                    Some(consume_answer::Content::Batch(_)) | None => {}
                    Some(content) => {
                        if let Some(end) = self.dialogue.hear(content) {
                            return Some(end);
                        }
                    }
                }
            }
            None
        };
        match timeout(PARTING_MAX, end).await {
            Ok(Some(end)) => {
                self.dialogue.broke();
                Ended::By(end)
            }
            Ok(None) | Err(_) => Ended::Broken("the stream has ended".to_owned()),
        }
    }

    /// Gives back what nobody took, has everything answered, and ends the stream.
    async fn say_goodbye(
        &mut self,
        requests: mpsc::Sender<ConsumeRequest>,
        mut answers: Streaming<ConsumeAnswer>,
    ) -> Ended {
        self.dialogue.leave();
        let mut requests = Some(requests);
        let farewell = async {
            loop {
                if let Some(open) = &requests {
                    for content in self.dialogue.say() {
                        if say(open, content).await.is_err() {
                            return;
                        }
                    }
                }
                if self.dialogue.is_idle() {
                    requests = None;
                }
                match answers.message().await {
                    Ok(Some(answer)) => {
                        // What still comes is not confirmed, so that it is given back.
                        if let Some(settled @ consume_answer::Content::Settled(_)) = answer.content {
                            self.dialogue.hear(settled);
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

async fn say(requests: &mpsc::Sender<ConsumeRequest>, content: Content) -> Result<(), ()> {
    requests.send(ConsumeRequest { content: Some(content) }).await.map_err(drop)
}

/// Leaves a stream that the node has ended, so that all that was said reaches it: what has arrived as far as it knows, it does not
/// give back. Fails if the stream breaks meanwhile.
async fn part(requests: mpsc::Sender<ConsumeRequest>, mut answers: Streaming<ConsumeAnswer>) -> Result<(), Status> {
    drop(requests);
    let ended = async {
        while answers.message().await?.is_some() {}
        Ok(())
    };
    timeout(PARTING_MAX, ended).await.unwrap_or(Ok(()))
}
