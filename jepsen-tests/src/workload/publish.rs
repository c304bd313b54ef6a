//! Publishers that send numbered messages, a bounded number in flight, until they are told to stop.
//!
//! They do not retry: the client library does, and what it says in the end is what goes into the history.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tercet_client::{Client, Message, Outcome, Producer, ProducerOptions};
use tokio::task::JoinSet;

use crate::{
    failure::{Doing, Failure},
    history::{Recorder, What},
};

/// How a publisher behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Client addresses of nodes, separated by commas.
    pub endpoints: String,
    /// Where messages go; it must exist.
    pub topic: String,
    /// First part of each body, different for each publisher of a history.
    pub name: String,
    /// Messages in flight.
    pub in_flight: usize,
    /// Pause of each sender between two messages, so that a long run stays small.
    pub pause: Duration,
    /// Length of a body in bytes, filled up behind its number.
    pub body_bytes: usize,
    /// How long the client tries before an outcome is refused or unknown.
    pub send_timeout: Duration,
}

/// A running publisher.
#[derive(Debug)]
pub struct Publisher {
    stopping: Arc<AtomicBool>,
    senders: JoinSet<()>,
}

impl Publisher {
    /// Starts to publish; what happens goes to `recorder`.
    ///
    /// # Errors
    /// If the client refuses the options.
    pub fn start(options: &Options, recorder: &Arc<Recorder>) -> Result<Self, Failure> {
        let client = Client::connect(&options.endpoints).doing(|| "client".to_owned())?;
        let producer = client
            .producer(ProducerOptions::new().send_timeout(options.send_timeout))
            .doing(|| "producer".to_owned())?;
        let producer = Arc::new(producer);
        let stopping = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicU64::new(0));
        let mut senders = JoinSet::new();
        for _ in 0..options.in_flight {
            let sender = Sender {
                producer: Arc::clone(&producer),
                next: Arc::clone(&next),
                stopping: Arc::clone(&stopping),
                recorder: Arc::clone(recorder),
                options: options.clone(),
            };
            senders.spawn(sender.run());
        }
        Ok(Self { stopping, senders })
    }

    /// Sends nothing new and waits for what is in flight.
    ///
    /// # Panics
    /// If a sender panicked.
    pub async fn stop(mut self) {
        self.stopping.store(true, Ordering::Release);
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("no sender panics");
        }
    }
}

struct Sender {
    producer: Arc<Producer>,
    next: Arc<AtomicU64>,
    stopping: Arc<AtomicBool>,
    recorder: Arc<Recorder>,
    options: Options,
}

impl Sender {
    async fn run(self) {
        while !self.stopping.load(Ordering::Acquire) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let body = body(&self.options.name, number, self.options.body_bytes);
            let message = Message::builder(&self.options.topic)
                .body(body.clone())
                .build()
                .expect("a short text is a legal message");
            self.recorder.record(What::Publish { body: body.clone() });
            let what = match self.producer.send(message).await {
                Outcome::Stored(stored) => What::Stored {
                    body,
                    queue: stored.queue.expect("Tercet says in which queue a message is stored"),
                    offset: stored.offset,
                },
                Outcome::Refused(refused) => What::Refused { body, why: refused.to_string() },
                Outcome::Unknown(unknown) => What::Unknown { body, why: unknown.to_string() },
            };
            self.recorder.record(what);
            tokio::time::sleep(self.options.pause).await;
        }
    }
}

/// `name-number-` and enough dots to be `bytes` long; never cut.
#[must_use]
pub fn body(name: &str, number: u64, bytes: usize) -> String {
    let mut body = format!("{name}-{number}-");
    body.extend(std::iter::repeat_n('.', bytes.saturating_sub(body.len())));
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_their_length_and_differ() {
        assert_eq!(body("a", 7, 8), "a-7-....");
        assert_eq!(body("long-name", 7, 4), "long-name-7-");
    }
}
