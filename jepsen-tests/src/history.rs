//! What clients saw, in the order in which they saw it. Checkers judge nothing else.

use std::{
    io::{self, BufRead, Write},
    sync::Mutex,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// One thing that a client saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Microseconds since the history began.
    pub at_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// The kinds of events. `body` identifies a published message: a workload never publishes the same body twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A client began to publish.
    Publish {
        /// The message's body.
        body: String,
    },
    /// The publish was acknowledged.
    Stored {
        /// The message's body.
        body: String,
        /// The acknowledged queue.
        queue: u32,
        /// The acknowledged offset in that queue.
        offset: u64,
    },
    /// The publish was refused: it must never be seen.
    Refused {
        /// The message's body.
        body: String,
        /// The broker's words.
        why: String,
    },
    /// Nobody knows what became of the publish.
    Unknown {
        /// The message's body.
        body: String,
        /// The client's words.
        why: String,
    },
    /// A consumer was handed a message.
    Read {
        /// The message's body.
        body: String,
        /// The queue it came from.
        queue: u32,
        /// Its offset in that queue.
        offset: u64,
        /// Which delivery it was.
        attempt: u32,
    },
    /// A fault was injected, or healed.
    Fault {
        /// In words.
        what: String,
    },
}

/// A history in the making; clients on all threads write to it.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    events: Mutex<Vec<Event>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { began: Instant::now(), events: Mutex::new(Vec::new()) }
    }
}

impl Recorder {
    /// Writes down that `what` happened now; returns when that was.
    ///
    /// # Panics
    /// If another client panicked while it wrote.
    pub fn record(&self, what: What) -> Duration {
        let mut events = self.events.lock().expect("no writer panics while it holds the lock");
        // Taken under the lock, so that the order of the times is the order of the events.
        let at = self.began.elapsed();
        events.push(Event { at_us: u64::try_from(at.as_micros()).expect("no history lasts 500,000 years"), what });
        at
    }

    /// Everything so far.
    ///
    /// # Panics
    /// If another client panicked while it wrote.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().expect("no writer panics while it holds the lock").clone()
    }

    /// How many messages have been acknowledged.
    ///
    /// # Panics
    /// If another client panicked while it wrote.
    #[must_use]
    pub fn stored(&self) -> usize {
        let events = self.events.lock().expect("no writer panics while it holds the lock");
        events.iter().filter(|event| matches!(event.what, What::Stored { .. })).count()
    }
}

/// Writes a history as JSON lines.
///
/// # Errors
/// If writing fails.
pub fn write(events: &[Event], to: &mut impl Write) -> io::Result<()> {
    for event in events {
        serde_json::to_writer(&mut *to, event)?;
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Reads a history that was written as JSON lines.
///
/// # Errors
/// If reading fails or a line is no event; the text names the line.
pub fn read(from: &mut impl BufRead) -> io::Result<Vec<Event>> {
    from.lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(&line?).map_err(|error| io::Error::other(format!("line {}: {error}", number + 1)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_comes_back_from_its_json_lines() {
        let recorder = Recorder::default();
        recorder.record(What::Publish { body: "a \"quoted\" line \u{2713}".to_owned() });
        recorder.record(What::Stored { body: "a".to_owned(), queue: 3, offset: u64::MAX });
        recorder.record(What::Fault { what: "killed node 2".to_owned() });
        let mut text = Vec::new();
        write(&recorder.events(), &mut text).unwrap();
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 3);
        assert_eq!(read(&mut text.as_slice()).unwrap(), recorder.events());
        assert_eq!(recorder.stored(), 1);
    }

    #[test]
    fn a_line_that_is_no_event_is_named() {
        let text = b"{\"at_us\":1,\"event\":\"publish\",\"body\":\"x\"}\n{\"at_us\":2}\n";
        let error = read(&mut text.as_slice()).unwrap_err().to_string();
        assert!(error.starts_with("line 2:"), "{error}");
    }
}
