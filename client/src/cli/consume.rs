//! `tercet consume`: one JSON line per message, then its acknowledgement.
//!
//! ```text
//!   consumer ─batches─► line, then acknowledgement (which goes on), then the next batch
//! ```

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use tercet_client::{
    Client, Consumer, ConsumerOptions, Error, GroupSettings, ReceivedMessage, Start, proto::admin::v1::TopicType,
};
use tokio::task::JoinSet;
use tonic::Code as GrpcCode;

use super::{Done, args::Consume, notices::notice};

/// Acknowledgements under way at a time; the writer goes on meanwhile.
const ACKS_UNDER_WAY_MAX: usize = 16;
/// Messages that are asked for ahead.
const PREFETCH: u64 = 2048;
const INVISIBLE: Duration = Duration::from_secs(30);

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
    let options = ConsumerOptions {
        invisible_duration: INVISIBLE,
        prefetch_messages: args.max.unwrap_or(PREFETCH).min(PREFETCH),
        ..ConsumerOptions::default()
    };
    let consumer = Arc::new(client.consumer(&args.group, [&args.topic], options)?);
    let done = write_all(&consumer, out, args.until_idle, args.max).await;
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

/// Makes the group if it is to begin elsewhere than one that a first receive makes. A group that exists keeps its
/// settings, whatever they are.
async fn make_group(client: &Client, args: &Consume) -> Result<(), Error> {
    if args.from == Start::First {
        return Ok(());
    }
    let topic = client.admin().describe_topic(&args.topic).await?.topic.unwrap_or_default();
    let fifo = topic.r#type() == TopicType::Fifo;
    let settings = GroupSettings { fifo, start: args.from, ..GroupSettings::default() };
    match client.admin().create_group(&args.group, settings).await {
        Ok(_) | Err(Error::Rpc { code: GrpcCode::AlreadyExists, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Until nothing came for `until_idle`, or `max` messages were written, or an error that no retry helps.
async fn write_all(
    consumer: &Arc<Consumer>,
    mut out: Box<dyn Write + Send>,
    until_idle: Option<Duration>,
    max: Option<u64>,
) -> Done {
    let mut acks = JoinSet::new();
    let mut written = 0;
    while max.is_none_or(|max| written < max) {
        let idle = until_idle.unwrap_or(Duration::MAX);
        let Ok(batch) = tokio::time::timeout(idle, consumer.receive()).await else { break };
        let mut batch = match batch {
            Ok(batch) => batch,
            Err(error) if error.can_retry() => {
                notice(format!("warning: {error}; going on"));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let left = max.map_or(usize::MAX, |max| usize::try_from(max - written).unwrap_or(usize::MAX));
        let too_many = batch.split_off(left.min(batch.len()));
        if !too_many.is_empty() {
            warn(Some(Ok(consumer.give_back(&too_many).await)));
        }
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
}
