//! `tercet publish`: each line becomes a message.
//!
//! ```text
//!   reader thread ─lines─► feeder ─send_with─► producer ─outcomes─► recorder ─► acks file, progress, counts
//!                            ▲                                         │
//!                            └──────────── room in flight ─────────────┘
//! ```

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use regex::bytes::Regex;
use serde::Serialize;
use tercet_client::{Client, Code, Message, MessageError, Outcome, Producer, ProducerOptions};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Done,
    acks::Acks,
    args::{Output, Publish},
    hint_for_topic,
    notices::{self, notice},
    output,
};

/// Lines that the reader may be ahead.
const LINES_AHEAD: usize = 1024;
/// Failures that are printed one by one; the rest is only counted.
const FAILURES_SHOWN: u64 = 5;

/// A line of the input without its line feed, and its 1-based number.
struct Line {
    number: u64,
    text: Vec<u8>,
}

/// What became of a line.
struct Ended {
    line: u64,
    bytes: u64,
    outcome: Outcome,
}

/// A line of the acks file.
#[derive(Serialize)]
struct Acknowledged {
    line: u64,
    message_id: String,
    queue: Option<u32>,
    offset: u64,
}

#[derive(Serialize, Default)]
struct Summary {
    stored: u64,
    refused: u64,
    unknown: u64,
    skipped_empty_lines: u64,
    seconds: f64,
    rate: f64,
    mb_per_s: f64,
    longest_gap_ms: u64,
}

/// How feeder and recorder hold each other back.
#[derive(Clone)]
struct Pace {
    /// For messages in flight.
    room: Arc<Semaphore>,
    /// Nothing more is to be sent: no line can succeed, or what succeeds cannot be recorded.
    enough: CancellationToken,
}

/// What the recorder ends with.
struct Recorded {
    summary: Summary,
    /// Why the acks file does not name everything that was stored.
    acks_failure: Option<String>,
}

pub(super) async fn run(client: Client, args: Publish, format: Output) -> Done {
    let options = ProducerOptions { send_timeout: args.timeout, ..ProducerOptions::default() };
    let producer = client.producer(options)?;
    let template = template(&args)?;
    let acks = args.acks.as_deref().map(Acks::create).transpose()?;
    let (lines, length) = read_lines(args.file.as_deref())?;
    let progress = progress(length);
    let (ended, outcomes) = mpsc::unbounded_channel();
    let pace = Pace { room: Arc::new(Semaphore::new(args.in_flight as usize)), enough: CancellationToken::new() };
    let recorder = tokio::spawn(record(outcomes, acks, progress, pace.clone()));
    let fed = feed(&producer, template, args.key_regex, lines, ended, &pace).await;
    // Everything that was handed over gets its outcome; then the last sender of outcomes is gone.
    producer.close().await;
    let Recorded { mut summary, acks_failure } = recorder.await?;
    summary.skipped_empty_lines = fed?;
    let sentence = format!(
        "{} stored, {} refused, {} unknown in {:.2} s: {:.0} messages/s, {:.1} MB/s, longest gap {} ms",
        summary.stored,
        summary.refused,
        summary.unknown,
        summary.seconds,
        summary.rate,
        summary.mb_per_s,
        summary.longest_gap_ms
    );
    output::say(format, &sentence, &summary)?;
    if let Some(failure) = acks_failure {
        return Err(failure.into());
    }
    Ok(summary.refused == 0 && summary.unknown == 0)
}

/// Everything but body and key, checked before the first line is read.
fn template(args: &Publish) -> Result<Message, MessageError> {
    let mut builder = Message::builder(&args.topic).body("x");
    if let Some(tag) = &args.tag {
        builder = builder.tag(tag);
    }
    builder.build()
}

/// Starts the thread that reads; also returns the length of the input in bytes, if it has one.
fn read_lines(path: Option<&Path>) -> Result<(mpsc::Receiver<io::Result<Line>>, Option<u64>), String> {
    let (mut input, length): (Box<dyn BufRead + Send>, _) = match path {
        None => (Box::new(BufReader::new(io::stdin())), None),
        Some(path) => {
            let cannot = |error| format!("cannot read {}: {error}", path.display());
            let file = File::open(path).map_err(cannot)?;
            let length = file.metadata().map_err(cannot)?.len();
            (Box::new(BufReader::with_capacity(256 << 10, file)), (length > 0).then_some(length))
        }
    };
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        for number in 1.. {
            let mut text = Vec::new();
            let item = match input.read_until(b'\n', &mut text) {
                Ok(0) => return,
                Ok(_) => {
                    text.pop_if(|last| *last == b'\n');
                    Ok(Line { number, text })
                }
                Err(error) => Err(error),
            };
            let failed = item.is_err();
            if sender.blocking_send(item).is_err() || failed {
                return;
            }
        }
    });
    Ok((lines, length))
}

/// Hands each line over; returns how many empty ones were skipped. Ends early if the recorder has enough.
async fn feed(
    producer: &Producer,
    template: Message,
    key_regex: Option<Regex>,
    mut lines: mpsc::Receiver<io::Result<Line>>,
    ended: mpsc::UnboundedSender<Ended>,
    pace: &Pace,
) -> Result<u64, String> {
    let mut skipped = 0;
    while let Some(Some(line)) = pace.enough.run_until_cancelled(lines.recv()).await {
        let Line { number, text } = line.map_err(|error| format!("cannot read the input: {error}"))?;
        if text.is_empty() {
            skipped += 1;
            continue;
        }
        let bytes = text.len() as u64;
        let Some(permit) = pace.enough.run_until_cancelled(pace.room.acquire()).await else { break };
        permit.expect("the semaphore is never closed").forget();
        match message_of(&template, key_regex.as_ref(), text) {
            Err(error) => {
                let outcome = refused(error.to_string());
                drop(ended.send(Ended { line: number, bytes, outcome }));
            }
            Ok(message) => {
                let ended = ended.clone();
                let callback = move |outcome| drop(ended.send(Ended { line: number, bytes, outcome }));
                producer.send_with(message, callback).await;
            }
        }
    }
    Ok(skipped)
}

fn message_of(template: &Message, key_regex: Option<&Regex>, text: Vec<u8>) -> Result<Message, MessageError> {
    let key = key_regex.and_then(|regex| {
        let captures = regex.captures(&text)?;
        let key = captures.get(1).or_else(|| captures.get(0))?.as_bytes();
        Some(String::from_utf8_lossy(key).into_owned())
    });
    match key {
        None => template.with_body(text),
        Some(key) => template.with_body(text)?.with_key(key),
    }
}

fn refused(message: String) -> Outcome {
    Outcome::Refused(tercet_client::Refused { code: Code::BAD_REQUEST, message, message_id: None })
}

/// Writes and counts outcomes until there are no more. What cannot be recorded is sent no longer, but what was sent is
/// counted.
async fn record(
    mut outcomes: mpsc::UnboundedReceiver<Ended>,
    mut acks: Option<Acks>,
    progress: ProgressBar,
    pace: Pace,
) -> Recorded {
    let mut summary = Summary::default();
    let mut unrecorded = Unrecorded::default();
    let started = Instant::now();
    let (mut last_stored, mut longest_gap, mut bytes_stored) = (started, Duration::ZERO, 0);
    let (mut burst, mut text) = (Vec::with_capacity(1024), Vec::new());
    while outcomes.recv_many(&mut burst, 1024).await > 0 {
        let count = burst.len();
        let stored_before = summary.stored;
        text.clear();
        for ended in burst.drain(..) {
            progress.inc(ended.bytes + 1);
            if let Outcome::Stored(stored) = &ended.outcome {
                bytes_stored += ended.bytes;
                let message_id = stored.message_id.to_string();
                let line = Acknowledged { line: ended.line, message_id, queue: stored.queue, offset: stored.offset };
                serde_json::to_writer(&mut text, &line).expect("numbers and text are always JSON");
                text.push(b'\n');
            }
            count_outcome(&mut summary, &ended, &progress, &pace);
        }
        if !text.is_empty() {
            if let Some(acks) = &mut acks {
                unrecorded.note(acks.write(&text).await, acks.works(), summary.stored - stored_before, &pace);
            }
            let now = Instant::now();
            longest_gap = longest_gap.max(now - last_stored);
            last_stored = now;
        }
        pace.room.add_permits(count);
        progress.set_message(format!("{} stored", summary.stored));
    }
    progress.finish_and_clear();
    summary.seconds = (last_stored - started).as_secs_f64();
    if summary.seconds > 0.0 {
        summary.rate = summary.stored as f64 / summary.seconds;
        summary.mb_per_s = bytes_stored as f64 / 1e6 / summary.seconds;
    }
    summary.longest_gap_ms = u64::try_from(longest_gap.as_millis()).unwrap_or(u64::MAX);
    Recorded { summary, acks_failure: unrecorded.words() }
}

/// What was stored and is not in the acks file.
#[derive(Default)]
struct Unrecorded {
    why: Option<String>,
    messages: u64,
}

impl Unrecorded {
    /// Takes the outcome of a write of that many acknowledgements.
    fn note(&mut self, written: Result<(), String>, works: bool, messages: u64, pace: &Pace) {
        if let Err(why) = written {
            pace.enough.cancel();
            self.why.get_or_insert(why);
        }
        if !works {
            self.messages += messages;
        }
    }

    fn words(self) -> Option<String> {
        let Unrecorded { why, messages } = self;
        Some(format!("{}; publishing was stopped, and up to {messages} stored messages are not in it", why?))
    }
}

/// Says something beside the progress bar.
fn aside(progress: &ProgressBar, text: String) {
    // Asked before: the bar is locked while it is suspended.
    let shown = !progress.is_hidden();
    progress.suspend(|| {
        notice(text);
        if shown {
            // Before the bar is drawn again.
            notices::flush();
        }
    });
}

fn count_outcome(summary: &mut Summary, ended: &Ended, progress: &ProgressBar, pace: &Pace) {
    let failures = summary.refused + summary.unknown;
    let show = |text: String| {
        if failures < FAILURES_SHOWN {
            aside(progress, format!("line {}: {text}", ended.line));
        } else if failures == FAILURES_SHOWN {
            aside(progress, "further failures are only counted".to_owned());
        }
    };
    match &ended.outcome {
        Outcome::Stored(_) => summary.stored += 1,
        Outcome::Unknown(unknown) => {
            show(format!("unknown whether stored: {unknown}"));
            summary.unknown += 1;
        }
        Outcome::Refused(refused) => {
            show(format!("not stored: {refused}"));
            if refused.code == Code::TOPIC_NOT_FOUND && !pace.enough.is_cancelled() {
                aside(progress, format!("hint: {}", hint_for_topic()));
                // No line can succeed.
                pace.enough.cancel();
            }
            summary.refused += 1;
        }
    }
}

/// On standard error, and only if that is a terminal.
fn progress(length: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, style) = match length {
        Some(length) => (ProgressBar::new(length), "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {msg}, {eta} left"),
        None => (ProgressBar::no_length(), "{spinner} {bytes} {bytes_per_sec} {msg}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Message {
        Message::builder("t").body("x").build().unwrap()
    }

    #[test]
    fn a_key_is_the_first_capture_group_or_else_the_match() {
        let message =
            |regex: &str| message_of(&template(), Some(&Regex::new(regex).unwrap()), b"order-7,red".to_vec()).unwrap();
        assert_eq!(message("^([^,]+),").keys(), ["order-7"]);
        assert_eq!(message("order-[0-9]").keys(), ["order-7"]);
        assert!(message("none").keys().is_empty());
    }

    #[test]
    fn lines_keep_their_bytes_and_numbers_and_lose_only_the_line_feed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"one\r\n\nthree\xff").unwrap();
        let (mut lines, length) = read_lines(Some(file.path())).unwrap();
        let mut read = Vec::new();
        while let Some(line) = lines.blocking_recv() {
            let line = line.unwrap();
            read.push((line.number, line.text));
        }
        assert_eq!(read, [(1, b"one\r".to_vec()), (2, b"".to_vec()), (3, b"three\xff".to_vec())]);
        assert_eq!(length, Some(12));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read_lines(Some(Path::new("/nowhere/at/all"))).unwrap_err();
        assert!(error.contains("cannot read /nowhere/at/all"), "{error}");
    }
}
