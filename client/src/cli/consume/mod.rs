//! `tercet consume`: a line per message, then its acknowledgement.
//!
//! ```text
//!   consumer ─batches─► some lines, then their acknowledgements (which go on), then more lines
//!                            └── what is not written at the end is given back
//! ```

mod line;
mod out;

use std::{error::Error as StdError, io, time::Duration};

use serde::Serialize;
use tercet_client::{
    Client, Consumer, ConsumerOptions, Error, GroupSettings, ReceivedMessage, RpcCode, Start, TopicType,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    args::{Consume, Format},
    exit::Done,
    interrupt::Interrupt,
    notices::notice,
};
use out::Out;

/// Acknowledgements under way at a time; the writer goes on meanwhile.
const ACKS_UNDER_WAY_MAX: usize = 16;
/// Messages that are asked for ahead.
const PREFETCH: u64 = 2048;
const INVISIBLE: Duration = Duration::from_secs(30);
/// Bytes of lines that are written at once, more only if a single one has more: what an end must wait for.
const WRITE_BYTES: usize = 64 << 10;
/// After so many messages that are not acknowledged, more are only counted.
const FAILURES_SHOWN: u64 = 5;

pub(super) async fn run(client: Client, args: Consume, format: Option<Format>) -> Done {
    let out = Out::open(args.out.as_deref())?;
    let interrupt = Interrupt::listen()?;
    if let Some(made) = interrupt.asked().run_until_cancelled(make_group(&client, &args)).await {
        made?;
    }
    let options = ConsumerOptions::new()
        .invisible_duration(INVISIBLE)
        .filter(args.filter)
        .prefetch_messages(args.max.unwrap_or(PREFETCH).min(PREFETCH));
    let consumer = client.consumer(&args.group, [args.topic.name()], options)?;
    let mut work = Work {
        consumer,
        out,
        format: format.unwrap_or(Format::Json),
        end: interrupt.asked().clone(),
        peeked: args.peek.then(Vec::new),
        acks: JoinSet::new(),
        tally: Tally::default(),
    };
    let ended = work.until(args.until_idle, args.max).await;
    let tally = work.finish().await;
    let quietly = match &ended {
        Ok(ended) => *ended == Ended::NobodyReads,
        Err(_) => tally.written == 0,
    };
    if !quietly {
        notice(match format {
            Some(Format::Json) => serde_json::to_string(&tally)?,
            Some(Format::Table) | None => tally.words(),
        });
    }
    ended?;
    Ok(interrupt.exit(tally.not_acknowledged == 0))
}

/// Makes the group if it is to begin elsewhere than one that a first receive makes. A group that exists keeps its
/// settings, whatever they are.
async fn make_group(client: &Client, args: &Consume) -> Result<(), Error> {
    if args.from == Start::First {
        return Ok(());
    }
    let topic = client.admin().describe_topic(args.topic.name()).await?.topic;
    let fifo = topic.topic_type == TopicType::Fifo;
    let settings = GroupSettings::new().fifo(fifo).start(args.from);
    match client.admin().create_group(&args.group, settings).await {
        Ok(_) | Err(Error::Rpc { code: RpcCode::AlreadyExists, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What became of the messages.
#[derive(Debug, Default, Serialize)]
struct Tally {
    written: u64,
    /// Of those that were written, at most; they may come again.
    not_acknowledged: u64,
    /// All of them, if they were only looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    given_back: Option<u64>,
}

impl Tally {
    fn words(&self) -> String {
        match self {
            Tally { written: 0, .. } => "no messages".to_owned(),
            Tally { written: 1, given_back: Some(_), .. } => "1 message, given back".to_owned(),
            Tally { written, given_back: Some(_), .. } => format!("{written} messages, all given back"),
            Tally { written: 1, not_acknowledged: 0, .. } => "1 message, acknowledged".to_owned(),
            Tally { written, not_acknowledged: 0, .. } => format!("{written} messages, all acknowledged"),
            Tally { written, not_acknowledged, .. } => {
                format!("{written} messages, of which up to {not_acknowledged} are not acknowledged and may come again")
            }
        }
    }
}

/// Why it ended, if not by an error.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    AsAsked,
    NobodyReads,
}

struct Work {
    consumer: Consumer,
    out: Out,
    format: Format,
    /// The user wants an end.
    end: CancellationToken,
    /// What is to go back in the end, if everything is.
    peeked: Option<Vec<ReceivedMessage>>,
    /// How many messages each is for, and what came of it.
    acks: JoinSet<(u64, Result<(), Error>)>,
    tally: Tally,
}

impl Work {
    /// Until nothing came for `until_idle`, or `max` messages were written, or the user wants an end, or nobody reads what is
    /// written, or an error that no retry helps.
    async fn until(&mut self, until_idle: Option<Duration>, max: Option<u64>) -> Result<Ended, Box<dyn StdError>> {
        let idle = until_idle.unwrap_or(Duration::MAX);
        while max.is_none_or(|max| self.tally.written < max) {
            let left = max.map_or(usize::MAX, |max| usize::try_from(max - self.tally.written).unwrap_or(usize::MAX));
            let receiving = tokio::time::timeout(idle, self.consumer.receive_at_most(left));
            let Some(Ok(batch)) = self.end.run_until_cancelled(receiving).await else { break };
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) if error.can_retry() => {
                    notice(format!("warning: {error}; going on"));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match self.write(batch).await {
                Ok(()) => {}
                // The reader has enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Ended::NobodyReads),
                Err(error) if error.kind() == io::ErrorKind::TimedOut && self.end.is_cancelled() => break,
                Err(error) => return Err(format!("cannot write: {error}").into()),
            }
        }
        Ok(Ended::AsAsked)
    }

    /// Writes and acknowledges; what is not written when the user wants an end, or cannot be, is given back.
    async fn write(&mut self, batch: Vec<ReceivedMessage>) -> io::Result<()> {
        let mut rest = batch.into_iter();
        let mut written = Ok(());
        while !rest.as_slice().is_empty() && !self.end.is_cancelled() {
            let (mut lines, mut count) = (Vec::new(), 0);
            for message in rest.as_slice() {
                line::write(message, self.format, &mut lines);
                count += 1;
                if lines.len() >= WRITE_BYTES {
                    break;
                }
            }
            written = self.out.write(lines, &self.end).await;
            if written.is_err() {
                break;
            }
            let done: Vec<ReceivedMessage> = rest.by_ref().take(count).collect();
            match &mut self.peeked {
                Some(peeked) => {
                    self.tally.written += done.len() as u64;
                    peeked.extend(done);
                }
                None => self.acknowledge(done).await,
            }
        }
        self.give_back(rest.as_slice()).await;
        written
    }

    /// Begins to acknowledge what was written.
    async fn acknowledge(&mut self, messages: Vec<ReceivedMessage>) {
        let count = messages.len() as u64;
        self.tally.written += count;
        let consumer = self.consumer.clone();
        self.acks.spawn(async move { (count, consumer.ack_all(&messages).await) });
        while self.acks.len() >= ACKS_UNDER_WAY_MAX {
            self.acknowledged().await;
        }
    }

    /// Takes what came of an acknowledgement, as soon as one has ended; says whether there was one.
    async fn acknowledged(&mut self) -> bool {
        let Some(acked) = self.acks.join_next().await else { return false };
        let (count, result) = acked.expect("an acknowledgement does not panic");
        if let Err(error) = result {
            let before = self.tally.not_acknowledged;
            self.tally.not_acknowledged += count;
            if before < FAILURES_SHOWN {
                notice(format!("warning: {count} messages may come again: {error}"));
            }
        }
        true
    }

    /// They come again at once instead of when their time is over.
    async fn give_back(&self, messages: &[ReceivedMessage]) {
        if messages.is_empty() {
            return;
        }
        if let Err(error) = self.consumer.give_back(messages).await {
            notice(format!("warning: {} messages come again later, not at once: {error}", messages.len()));
        }
    }

    /// Waits for the acknowledgements, and gives back what was not received.
    async fn finish(mut self) -> Tally {
        while self.acknowledged().await {}
        if let Some(peeked) = self.peeked.take() {
            self.give_back(&peeked).await;
            self.tally.given_back = Some(peeked.len() as u64);
        }
        self.consumer.close().await;
        self.tally
    }
}
