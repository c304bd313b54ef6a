//! Lines for an output that may be full, closed, or read slowly or never (hazards 40): whoever writes one neither waits
//! nor fails, and what was lost is counted.
//!
//! ```text
//!   push ─► queue, at most QUEUE_BYTES_MAX ─► one thread ─► the output
//!     │                                          └ error: line lost, counted as failed
//!     └ no room: line lost, counted as full
//! ```
//! A thread of its own, because a write to a pipe whose reader has stopped returns only when it goes on. It writes to a
//! descriptor of its own: the lock that the standard library keeps around standard error would otherwise pass its wait on
//! to everybody who prints. (`tracing-appender` has the thread too, but prints by `println!` when it is dropped in front
//! of a full queue, which panics or waits itself, and does not count what could not be written.)

mod queue;
pub mod results;
mod shared;
mod writer;

use std::{
    fs::File,
    io,
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use queue::QUEUE_BYTES_MAX;

use queue::Queue;
use shared::Shared;

/// Lines on their way to one output. Clones write to the same.
#[derive(Clone, Debug)]
pub struct Lines {
    shared: Arc<Shared>,
}

/// Lines that nobody will read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The queue had no room: the output is slower than what is written, or stands still.
    pub full: u64,
    /// The output refused them: its disk is full, or its reader is gone.
    pub failed: u64,
}

impl Lines {
    /// Lines to standard error.
    ///
    /// # Errors
    /// When the system has no descriptor or no thread left.
    pub fn stderr() -> io::Result<Lines> {
        let own = io::stderr().as_fd().try_clone_to_owned()?;
        Lines::to("stderr", File::from(own))
    }

    /// Lines to standard output.
    ///
    /// # Errors
    /// When the system has no descriptor or no thread left.
    pub fn stdout() -> io::Result<Lines> {
        let own = io::stdout().as_fd().try_clone_to_owned()?;
        Lines::to("stdout", File::from(own))
    }

    /// Lines to this output, by a thread of this name.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn to(thread: &str, output: File) -> io::Result<Lines> {
        let shared = Arc::new(Shared { queue: Queue::default(), full: AtomicU64::new(0), failed: AtomicU64::new(0) });
        let own = Arc::clone(&shared);
        // Never joined: it may wait for a reader that has stopped, and ends with the process.
        std::thread::Builder::new().name(thread.to_owned()).spawn(move || writer::run(&own, output))?;
        Ok(Lines { shared })
    }

    /// Hands a line over, with its line feed. Returns at once, always.
    pub fn push(&self, line: Vec<u8>) {
        if !self.shared.queue.push(line) {
            self.shared.full.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The same for text without a line feed.
    pub fn say(&self, text: impl Into<String>) {
        let mut line = text.into().into_bytes();
        line.push(b'\n');
        self.push(line);
    }

    /// Waits until everything that was handed over is written or lost, for at most `within`. Says whether it is.
    pub fn flush(&self, within: Duration) -> bool {
        self.shared.queue.wait_until_done(within)
    }

    /// What was lost so far.
    #[must_use]
    pub fn lost(&self) -> Lost {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Lost { full: count(&self.shared.full), failed: count(&self.shared.failed) }
    }

    /// A writer that takes each call of `write` for whole lines, as `tracing_subscriber` makes them.
    #[must_use]
    pub fn writer(&self) -> LineWriter {
        LineWriter(self.clone())
    }
}

/// See [`Lines::writer`]. Never fails.
#[derive(Debug)]
pub struct LineWriter(Lines);

impl io::Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
