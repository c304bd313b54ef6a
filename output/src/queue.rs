//! The lines that wait. Nobody holds its lock for longer than it takes to move one line.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What waits to be written, together, in bytes. Beyond it lines are lost.
pub const QUEUE_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    /// The sum of their lengths.
    bytes: usize,
    /// Whether the writer is busy with a line that it took.
    writing: bool,
}

/// A bounded queue with one reader.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    done: Condvar,
}

impl Queue {
    /// Whether there was room.
    pub(crate) fn push(&self, line: Vec<u8>) -> bool {
        let mut waiting = self.lock();
        if waiting.bytes + line.len() > QUEUE_BYTES_MAX {
            return false;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line);
        drop(waiting);
        self.filled.notify_one();
        true
    }

    /// The next line, once there is one. Asking for it says that the one before is done.
    pub(crate) fn next(&self) -> Vec<u8> {
        let mut waiting = self.lock();
        waiting.writing = false;
        if waiting.lines.is_empty() {
            self.done.notify_all();
        }
        let mut waiting =
            self.filled.wait_while(waiting, |now| now.lines.is_empty()).unwrap_or_else(PoisonError::into_inner);
        let line = waiting.lines.pop_front().expect("waited for one");
        waiting.bytes -= line.len();
        waiting.writing = true;
        line
    }

    /// Whether everything is done within this time.
    pub(crate) fn wait_until_done(&self, within: Duration) -> bool {
        let busy = |now: &mut Waiting| now.writing || !now.lines.is_empty();
        let waited = self.done.wait_timeout_while(self.lock(), within, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change leaves it whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
