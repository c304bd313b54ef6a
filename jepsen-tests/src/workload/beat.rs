//! A publisher with a beat: one message each interval, whatever became of those before (open loop), so that a group that
//! stands still is seen as it is, and not as a publisher that waits politely.

use std::{sync::Arc, time::Duration};

use tercet_client::{Client, Message, Outcome, Producer, ProducerOptions};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::MissedTickBehavior,
};

use crate::{
    failure::{Doing, Failure},
    history::{Recorder, What},
    workload::publish::body,
};

/// A running publisher.
#[derive(Debug)]
pub struct Beat {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// How it publishes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Client addresses of nodes, separated by commas.
    pub endpoints: String,
    /// Where messages go; it must exist.
    pub topic: String,
    /// Length of a body in bytes.
    pub body_bytes: usize,
    /// Time between two messages.
    pub interval: Duration,
}

impl Beat {
    /// Starts to publish; what happens goes to `recorder`.
    ///
    /// # Errors
    /// If the client refuses the options.
    pub fn start(options: Options, recorder: Arc<Recorder>) -> Result<Self, Failure> {
        let client = Client::connect(&options.endpoints).doing(|| "client".to_owned())?;
        let producer = client.producer(ProducerOptions::default()).doing(|| "producer".to_owned())?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(options, producer, recorder, stopped));
        Ok(Self { stop, task })
    }

    /// Sends nothing new and waits for what is in flight.
    ///
    /// # Panics
    /// If it panicked.
    pub async fn stop(self) {
        // It has ended already only if it panicked.
        let _ = self.stop.send(());
        self.task.await.expect("the publisher does not panic");
    }
}

async fn run(options: Options, producer: Producer, recorder: Arc<Recorder>, mut stopped: oneshot::Receiver<()>) {
    let mut beats = tokio::time::interval(options.interval);
    beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut waiting = JoinSet::new();
    let mut number = 0;
    while !tokio::select! { _ = beats.tick() => false, _ = &mut stopped => true } {
        let text = body("beat", number, options.body_bytes);
        number += 1;
        let message = Message::builder(&options.topic).body(text.clone()).build();
        let message = message.expect("a short text is a legal message");
        recorder.record(What::Publish { body: text.clone() });
        let pending = producer.enqueue(message).await;
        let recorder = Arc::clone(&recorder);
        waiting.spawn(async move {
            let what = match pending.await {
                Outcome::Stored(stored) => What::Stored {
                    body: text,
                    queue: stored.queue.expect("Tercet says in which queue a message is stored"),
                    offset: stored.offset,
                },
                Outcome::Refused(refused) => What::Refused { body: text, why: refused.to_string() },
                Outcome::Unknown(unknown) => What::Unknown { body: text, why: unknown.to_string() },
            };
            recorder.record(what);
        });
        while waiting.try_join_next().is_some() {}
    }
    while waiting.join_next().await.is_some() {}
}
