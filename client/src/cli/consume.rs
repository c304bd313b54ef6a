//! `tercet consume`: one JSON line per message, then its acknowledgement.
//!
//! ```text
//!   receivers (a few) ─batches─► writer: line, then acknowledgement, then the next batch
//! ```

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tercet_client::{Client, ConsumerOptions, Error, GroupSettings, ReceivedMessage, SimpleConsumer};
use tokio::{sync::mpsc, task::JoinSet};
use tonic::Code as GrpcCode;

use super::{Done, args::Consume, notices::notice};

/// Receives under way at a time.
const RECEIVERS: usize = 16;
/// Acknowledgements under way at a time; the writer goes on meanwhile.
const ACKS_UNDER_WAY_MAX: usize = 16;
const BATCH_MAX: u64 = 32;
const INVISIBLE: Duration = Duration::from_secs(30);
/// The broker's bounds of a long poll.
const POLL_SHORTEST: Duration = Duration::from_secs(5);
const POLL_LONGEST: Duration = Duration::from_secs(15);

/// A line of the output.
#[derive(Serialize)]
struct Line<'a> {
    queue: u32,
    offset: u64,
    message_id: &'a str,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

pub(super) async fn run(client: Client, args: Consume) -> Done {
    let out = open(args.out.as_deref())?;
    make_group(&client, &args).await?;
    let long_poll = args.until_idle.unwrap_or(POLL_LONGEST).clamp(POLL_SHORTEST, POLL_LONGEST);
    let options = ConsumerOptions { long_poll, invisible_duration: INVISIBLE, ..ConsumerOptions::default() };
    let consumer = Arc::new(client.simple_consumer(&args.group, [&args.topic], options)?);
    // What may still be asked for; receivers take from it before they ask, so that never too many come.
    let wanted = Arc::new(AtomicU64::new(args.max.unwrap_or(u64::MAX)));
    let (sender, batches) = mpsc::channel(1);
    let mut receivers = JoinSet::new();
    for _ in 0..RECEIVERS {
        receivers.spawn(receive(Arc::clone(&consumer), Arc::clone(&wanted), sender.clone()));
    }
    drop(sender);
    let done = write_all(&consumer, batches, out, args.until_idle, args.max).await;
    receivers.shutdown().await;
    if let Some(consumer) = Arc::into_inner(consumer) {
        consumer.close().await;
    }
    done
}

fn open(path: Option<&Path>) -> Result<Box<dyn Write + Send>, String> {
    match path {
        None => Ok(Box::new(io::stdout())),
        Some(path) => match File::create(path) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(format!("cannot write {}: {error}", path.display())),
        },
    }
}

/// A group that exists keeps its settings, whatever they are.
async fn make_group(client: &Client, args: &Consume) -> Result<(), Error> {
    let settings = GroupSettings { start: args.from, ..GroupSettings::default() };
    match client.admin().create_group(&args.group, settings).await {
        Ok(_) | Err(Error::Rpc { code: GrpcCode::AlreadyExists, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn receive(
    consumer: Arc<SimpleConsumer>,
    wanted: Arc<AtomicU64>,
    batches: mpsc::Sender<Result<Vec<ReceivedMessage>, Error>>,
) {
    loop {
        let taken = take(&wanted);
        if taken == 0 {
            // The others may give some back, if they get fewer than they asked for.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        let count = usize::try_from(taken).expect("at most BATCH_MAX");
        let result = consumer.receive_with(count, INVISIBLE).await;
        let got = result.as_ref().map_or(0, Vec::len) as u64;
        wanted.fetch_add(taken.saturating_sub(got), Ordering::Relaxed);
        let again = match &result {
            Ok(messages) if messages.is_empty() => continue,
            Ok(_) => true,
            Err(error) => error.can_retry(),
        };
        if batches.send(result).await.is_err() || !again {
            return;
        }
    }
}

/// Takes up to a batch from what is wanted.
fn take(wanted: &AtomicU64) -> u64 {
    let before = wanted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left - left.min(BATCH_MAX)));
    before.expect("the update always happens").min(BATCH_MAX)
}

/// Until nothing came for `until_idle`, or `max` messages were written, or an error that no retry helps.
async fn write_all(
    consumer: &Arc<SimpleConsumer>,
    mut batches: mpsc::Receiver<Result<Vec<ReceivedMessage>, Error>>,
    mut out: Box<dyn Write + Send>,
    until_idle: Option<Duration>,
    max: Option<u64>,
) -> Done {
    let mut acks = JoinSet::new();
    let mut written = 0;
    while max.is_none_or(|max| written < max) {
        let idle = until_idle.unwrap_or(Duration::MAX);
        let Ok(Some(batch)) = tokio::time::timeout(idle, batches.recv()).await else { break };
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) if error.can_retry() => {
                notice(format!("warning: {error}; going on"));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut lines = Vec::new();
        for message in &batch {
            serde_json::to_writer(&mut lines, &line(message))?;
            lines.push(b'\n');
        }
        out = match write(out, lines).await {
            Ok(written) => written,
            // The reader has enough. What it did not get is not acknowledged, and comes again.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(format!("cannot write: {error}").into()),
        };
        written += batch.len() as u64;
        let consumer = Arc::clone(consumer);
        acks.spawn(async move { consumer.ack_all(&batch).await });
        while acks.len() >= ACKS_UNDER_WAY_MAX {
            warn(acks.join_next().await);
        }
    }
    while let Some(acked) = acks.join_next().await {
        warn(Some(acked));
    }
    Ok(true)
}

/// Where it may wait for a slow reader: acknowledgements go on meanwhile.
async fn write(mut out: Box<dyn Write + Send>, lines: Vec<u8>) -> io::Result<Box<dyn Write + Send>> {
    let writing = tokio::task::spawn_blocking(move || out.write_all(&lines).and_then(|()| out.flush()).map(|()| out));
    writing.await.map_err(io::Error::other)?
}

/// A message whose acknowledgement failed is written again when it comes again.
fn warn(acked: Option<Result<Result<(), Error>, tokio::task::JoinError>>) {
    if let Some(Ok(Err(error))) = acked {
        notice(format!("warning: a message may come again: {error}"));
    }
}

fn line(message: &ReceivedMessage) -> Line<'_> {
    let text = std::str::from_utf8(message.body()).ok();
    Line {
        queue: message.queue(),
        offset: message.offset(),
        message_id: message.message_id(),
        attempt: message.attempt(),
        body: text,
        body_base64: text.is_none().then(|| base64(message.body())),
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }

    #[test]
    fn never_more_is_taken_than_is_wanted() {
        let wanted = AtomicU64::new(40);
        assert_eq!((take(&wanted), take(&wanted), take(&wanted)), (32, 8, 0));
    }
}
