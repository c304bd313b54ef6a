//! How far publishing is: the lines of its file of acknowledgements, watched from outside.

use std::{
    fs::File,
    io::Read,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How often the file is looked at; a gap is measured no finer.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Watches a file that another process appends lines to.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    seen: Arc<Mutex<Vec<(Duration, usize)>>>,
    stopping: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to watch; the file may not be there yet.
    #[must_use]
    pub fn watch(path: PathBuf) -> Self {
        let began = Instant::now();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stopping = Arc::new(AtomicBool::new(false));
        let watcher = {
            let (seen, stopping) = (Arc::clone(&seen), Arc::clone(&stopping));
            std::thread::spawn(move || watch(&path, began, &seen, &stopping))
        };
        Self { began, seen, stopping, watcher: Some(watcher) }
    }

    /// Time since the watching began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Lines so far.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.seen().last().map_or(0, |(_, lines)| *lines)
    }

    /// The longest time without a new line that overlaps the span from `from` to now.
    #[must_use]
    pub fn longest_gap(&self, from: Duration) -> Duration {
        longest_gap(&self.seen(), from, self.now())
    }

    /// When the last line came.
    #[must_use]
    pub fn last_at(&self) -> Duration {
        self.seen().last().map_or(Duration::ZERO, |(at, _)| *at)
    }

    /// When the first line came.
    #[must_use]
    pub fn first_at(&self) -> Duration {
        self.seen().first().map_or(Duration::ZERO, |(at, _)| *at)
    }

    fn seen(&self) -> Vec<(Duration, usize)> {
        self.seen.lock().expect("the watcher does not panic while it holds the lock").clone()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(watcher) = self.watcher.take() {
            // A watcher that panicked has nothing more to say.
            let _ = watcher.join();
        }
    }
}

fn watch(path: &PathBuf, began: Instant, seen: &Mutex<Vec<(Duration, usize)>>, stopping: &AtomicBool) {
    let mut file = None;
    let mut lines = 0;
    let mut buffer = vec![0; 1 << 20];
    while !stopping.load(Ordering::Acquire) {
        if file.is_none() {
            file = File::open(path).ok();
        }
        let read = file.as_mut().map_or(0, |file: &mut File| file.read(&mut buffer).unwrap_or(0));
        let new = buffer[..read].iter().filter(|byte| **byte == b'\n').count();
        if new > 0 {
            lines += new;
            seen.lock().expect("no reader panics while it holds the lock").push((began.elapsed(), lines));
        }
        if read < buffer.len() {
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

fn longest_gap(seen: &[(Duration, usize)], from: Duration, until: Duration) -> Duration {
    let mut longest = Duration::ZERO;
    let mut last = Duration::ZERO;
    for at in seen.iter().map(|(at, _)| *at).chain([until]) {
        if at >= from {
            longest = longest.max(at.saturating_sub(last));
        }
        last = at;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_if_it_reaches_into_the_span() {
        let ms = Duration::from_millis;
        let seen = [(ms(10), 1), (ms(500), 2), (ms(600), 3), (ms(1_700), 4), (ms(1_710), 5)];
        assert_eq!(longest_gap(&seen, ms(610), ms(1_720)), ms(1_100));
        assert_eq!(longest_gap(&seen, ms(1_705), ms(1_720)), ms(10));
        assert_eq!(longest_gap(&[], ms(0), ms(9)), ms(9));
    }

    #[test]
    fn lines_are_counted_as_they_come() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acks");
        let progress = Progress::watch(path.clone());
        std::fs::write(&path, "a\nb\nunfinished").unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while progress.lines() < 2 {
            assert!(Instant::now() < deadline, "two lines are there");
            std::thread::yield_now();
        }
        assert_eq!(progress.lines(), 2);
    }
}
