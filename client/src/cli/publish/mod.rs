//! `tercet publish`: a message, or a message from each line.
//!
//! ```text
//!   reader thread ─lines─► feeder ─send_with─► producer ─outcomes─► recorder ─► acks file, progress, counts
//!                            ▲                                         │
//!                            └──────────── room in flight ─────────────┘
//! ```
//!
//! - `input`: the reader; `shape`: what makes a message of a line; `recorder`, `acks`, `summary`: what became of them.

mod acks;
mod input;
mod pace;
mod recorder;
mod shape;
mod summary;

use std::{
    error::Error,
    io::{self, IsTerminal as _},
    sync::Arc,
    time::Duration,
};

use tercet_client::{Client, Message, Outcome, Producer, ProducerOptions, Refused, RefusedReason};
use tokio::sync::{Semaphore, mpsc};

use super::{
    args::{Format, Publish},
    exit::Done,
    interrupt::Interrupt,
    notices::notice,
    output,
};
use acks::{Acknowledged, Acks};
use input::{Line, read_lines};
use pace::Pace;
use recorder::{Ended, Recorded, progress, record};
use shape::Shape;

/// Each message is tried for `timeout`, or as long as producers try.
pub(super) async fn run(client: Client, args: Publish, timeout: Option<Duration>, format: Format) -> Done {
    let shape = Shape::new(&args)?;
    let options = ProducerOptions::new();
    let options = match timeout {
        Some(timeout) => options.send_timeout(timeout),
        None => options,
    };
    let producer = client.producer(options)?;
    let acks = args.acks.as_deref().map(Acks::create).transpose()?;
    let interrupt = Interrupt::listen()?;
    if let Some(body) = args.body {
        let message = shape.message(body.into_bytes())?;
        publish_one(&producer, message, acks, format).await?;
        return Ok(interrupt.exit(true));
    }
    let (lines, length) = read_lines(args.file.as_deref())?;
    if args.file.is_none() && io::stdin().is_terminal() {
        notice("each line that is typed becomes a message; Ctrl-D ends");
    }
    let (ended, outcomes) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(args.in_flight as usize));
    let pace = Pace { room, enough: interrupt.asked().child_token() };
    let recorder = tokio::spawn(record(outcomes, acks, progress(length), pace.clone()));
    let mut fed = Fed::default();
    let read = feed(&producer, &shape, lines, ended, &pace, &mut fed).await;
    // Everything that was handed over gets its outcome; then the last sender of outcomes is gone.
    producer.close().await;
    let Recorded { mut summary, acks_failure } = recorder.await?;
    summary.skipped_empty_lines = fed.skipped;
    summary.ended_before_line = fed.ended_before;
    output::say(format, &summary.words(), &summary)?;
    read?;
    if let Some(failure) = acks_failure {
        return Err(failure.into());
    }
    Ok(interrupt.exit(summary.all_stored()))
}

/// Publishes a single message and says where it is.
async fn publish_one(
    producer: &Producer,
    message: Message,
    acks: Option<Acks>,
    format: Format,
) -> Result<(), Box<dyn Error>> {
    let outcome = producer.send(message).await;
    producer.close().await;
    let stored = Acknowledged::new(1, &outcome.stored()?);
    let queue = stored.queue.map_or_else(String::new, |queue| format!("queue {queue}, "));
    output::say(format, &format!("stored at {queue}offset {} as {}", stored.offset, stored.message_id), &stored)?;
    if let Some(mut acks) = acks {
        let mut line = Vec::new();
        stored.write_to(&mut line);
        acks.write(&line).await?;
    }
    Ok(())
}

/// How far the feeder came.
#[derive(Default)]
struct Fed {
    /// Empty lines.
    skipped: u64,
    /// The first line that was not sent, if it ended before the input did.
    ended_before: Option<u64>,
}

/// Sends lines until there are no more, or it is enough.
async fn feed(
    producer: &Producer,
    shape: &Shape,
    mut lines: mpsc::Receiver<io::Result<Line>>,
    ended: mpsc::UnboundedSender<Ended>,
    pace: &Pace,
    fed: &mut Fed,
) -> Result<(), String> {
    let mut next = 1;
    loop {
        let line = pace.enough.run_until_cancelled(lines.recv()).await;
        let Some(line) = line else { break };
        let Some(line) = line else { return Ok(()) };
        let Line { number, text } = line.map_err(|error| format!("cannot read the input: {error}"))?;
        next = number;
        if text.is_empty() {
            fed.skipped += 1;
            next += 1;
            continue;
        }
        let bytes = text.len() as u64;
        let Some(permit) = pace.enough.run_until_cancelled(pace.room.acquire()).await else { break };
        permit.expect("the semaphore is never closed").forget();
        let ended = ended.clone();
        let told = move |outcome| drop(ended.send(Ended { line: number, bytes, outcome }));
        match shape.message(text) {
            Err(why) => told(refused(why)),
            Ok(message) => producer.send_with(message, told).await,
        }
        next += 1;
    }
    fed.ended_before = Some(next);
    Ok(())
}

fn refused(message: String) -> Outcome {
    Outcome::Refused(Refused::new(RefusedReason::Invalid, message))
}
