//! The outcomes: written to the acks file, shown and counted.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tercet_client::{Code, Outcome, Refused, RefusedReason};
use tokio::sync::mpsc;

use super::{
    acks::{Acknowledged, Acks},
    pace::Pace,
    summary::Summary,
};
use crate::cli::{
    failure::hint_for_code,
    notices::{self, notice},
};

/// Failures that are printed one by one; the rest is only counted.
const FAILURES_SHOWN: u64 = 5;

/// What became of a line.
pub(super) struct Ended {
    pub(super) line: u64,
    pub(super) bytes: u64,
    pub(super) outcome: Outcome,
}

/// What the recorder ends with.
pub(super) struct Recorded {
    pub(super) summary: Summary,
    /// Why the acks file does not name everything that was stored.
    pub(super) acks_failure: Option<String>,
}

/// Writes and counts outcomes until there are no more. What cannot be recorded is sent no longer, but what was sent is
/// counted.
pub(super) async fn record(
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
                Acknowledged::new(ended.line, stored).write_to(&mut text);
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
            summary.unknown(ended.line);
        }
        Outcome::Refused(refused) => {
            show(format!("not stored: {}", reason(refused)));
            if let Some(hint) = refused.reason.code().and_then(hint_for_code).filter(|_| !summary.hinted) {
                summary.hinted = true;
                aside(progress, format!("hint: {hint}"));
            }
            if refused.reason == RefusedReason::Answered(Code::TOPIC_NOT_FOUND) {
                // No line can succeed.
                pace.enough.cancel();
            }
            summary.refused(ended.line);
        }
    }
}

/// A message that was refused here, before it was one, has no code of a broker.
fn reason(refused: &Refused) -> String {
    match refused.message_id {
        None if refused.reason == RefusedReason::Invalid => refused.message.clone(),
        _ => refused.to_string(),
    }
}

/// On standard error, and only if that is a terminal.
pub(super) fn progress(length: Option<u64>) -> ProgressBar {
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
