//! The active segment in front of the writer, zeroed a little at a time while the log goes on.
//!
//! ```text
//!   records ──► written_to ··· MARGIN ··· zeroed_to ──► [what is being zeroed] ··· reserved, never written
//! ```
//! A write into reserved space costs its fdatasync a commit of the file system's journal; one into written zeroes does
//! not. Segments after the first were zeroed before they were taken, as far as there was time; this is for the rest. A
//! busy log is left alone, see [`Load`](super::load::Load).
//!
//! Invariant: nothing is zeroed that a record was written to or is being written to. The writer says where it will
//! write before it does, and waits in the rare case that just this is being zeroed.

use crate::env::File;
use crate::exec::sync::{Condvar, Mutex, MutexGuard};
use crate::storage::Sizes;
use std::ops::Range;
use std::sync::Arc;

/// Beside [`Sizes::zero_ahead`], so many times what was written to this segment since it became active: a busy log has it all soon.
const AHEAD_TIMES_WRITTEN: u64 = 4;
/// Ranges begin at multiples of this.
const ALIGN_BYTES: u64 = 4 << 10;

/// See the module.
pub(crate) struct Frontier {
    sizes: Sizes,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    /// Counts the segments that were active, so that a claim on an earlier one is told apart.
    generation: u64,
    file: Option<Arc<dyn File>>,
    file_bytes: u64,
    began_at: u64,
    written_to: u64,
    /// What lies before this and behind the margin was looked at.
    zeroed_to: u64,
    zeroing: Option<Range<u64>>,
}

/// The right to zero a range of a file.
pub(super) struct Claim {
    pub(super) file: Arc<dyn File>,
    pub(super) range: Range<u64>,
    generation: u64,
}

impl Frontier {
    pub(super) fn new(sizes: Sizes) -> Frontier {
        Frontier { sizes, inner: Mutex::default(), changed: Condvar::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics while it holds the frontier")
    }

    /// Another file is active now, or none; or the same one goes on at an earlier offset, after a truncation. What is
    /// being zeroed in that one stays so.
    pub(super) fn begin(&self, file: Option<Arc<dyn File>>, file_bytes: u64, offset: u64) {
        let mut inner = self.lock();
        if let (Some(old), Some(new)) = (&inner.file, &file)
            && std::ptr::addr_eq(Arc::as_ptr(old), Arc::as_ptr(new))
        {
            (inner.began_at, inner.written_to) = (offset, offset);
            return;
        }
        let generation = inner.generation + 1;
        *inner = Inner {
            generation,
            file,
            file_bytes,
            began_at: offset,
            written_to: offset,
            zeroed_to: offset,
            zeroing: None,
        };
    }

    /// The writer will write up to `end`; returns once nothing before it is being zeroed.
    pub(super) fn advance(&self, end: u64) {
        let mut inner = self.lock();
        inner.written_to = inner.written_to.max(end);
        let meets = |inner: &mut Inner| inner.zeroing.as_ref().is_some_and(|zeroing| zeroing.start < inner.written_to);
        drop(self.changed.wait_while(inner, meets).expect("no thread panics while it holds the frontier"));
    }

    /// The next range to zero, if it is time for one. Given back with [`release`](Self::release).
    pub(super) fn claim(&self) -> Option<Claim> {
        let Sizes { zero_margin, zero_ahead, zero_chunk, .. } = self.sizes;
        let mut inner = self.lock();
        let file = inner.file.clone()?;
        let written = inner.written_to - inner.began_at;
        let due_to = inner.written_to + zero_ahead + AHEAD_TIMES_WRITTEN * written;
        let start = inner.zeroed_to.max(inner.written_to + zero_margin).next_multiple_of(ALIGN_BYTES);
        if start >= due_to.min(inner.file_bytes) {
            return None;
        }
        let range = start..inner.file_bytes.min(start + zero_chunk);
        inner.zeroing = Some(range.clone());
        Some(Claim { file, range, generation: inner.generation })
    }

    /// The range of a claim is zeroed or cannot be, so it is `passed`; or there was no space for it, and it is tried again.
    pub(super) fn release(&self, claim: &Claim, passed: bool) {
        let mut inner = self.lock();
        if inner.generation == claim.generation {
            assert!(claim.range.start >= inner.zeroed_to, "ranges are zeroed in order");
            inner.zeroing = None;
            if passed {
                inner.zeroed_to = claim.range.end;
            }
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::OpenMode;
    use crate::env::sim::SimEnv;

    const CHUNK: u64 = 8 << 20;
    const MARGIN_BYTES: u64 = 4 << 20;
    const AHEAD_BYTES_MIN: u64 = 16 << 20;

    fn file(path: &str) -> Arc<dyn File> {
        let env = SimEnv::new(1).env();
        env.disk.create_dir_all("/d".as_ref()).unwrap();
        env.disk.open(path.as_ref(), OpenMode::CreateNew).unwrap()
    }

    fn frontier(file_bytes: u64) -> Frontier {
        let frontier = Frontier::new(Sizes { zero_chunk: CHUNK, ..Sizes::default() });
        frontier.begin(Some(file("/d/f")), file_bytes, 4096);
        frontier
    }

    #[test]
    fn an_idle_writer_has_a_little_zeroed_in_front_of_it_and_a_busy_one_more() {
        let frontier = frontier(1 << 30);
        let mut zeroed = 0;
        while let Some(claim) = frontier.claim() {
            assert!(claim.range.start >= 4096 + MARGIN_BYTES);
            zeroed += claim.range.end - claim.range.start;
            frontier.release(&claim, true);
        }
        assert!((AHEAD_BYTES_MIN - MARGIN_BYTES..AHEAD_BYTES_MIN + CHUNK).contains(&zeroed), "{zeroed}");
        frontier.advance(4096 + (512 << 10));
        assert!(frontier.claim().is_none(), "enough is there");
        frontier.advance(4096 + (8 << 20));
        assert!(frontier.claim().is_some());
    }

    #[test]
    fn nothing_is_zeroed_that_was_or_is_being_written() {
        let frontier = frontier(64 << 20);
        frontier.advance(40 << 20);
        let claim = frontier.claim().unwrap();
        assert_eq!(claim.range, (44 << 20)..(52 << 20));
        frontier.release(&claim, true);
        frontier.advance(62 << 20);
        assert!(frontier.claim().is_none(), "the margin passes the end");
    }

    #[test]
    fn a_writer_waits_for_what_is_being_zeroed_and_for_nothing_else() {
        let frontier = Arc::new(frontier(64 << 20));
        let claim = frontier.claim().unwrap();
        frontier.advance(claim.range.start);
        let (end, other) = (claim.range.start + 1, frontier.clone());
        let writer = std::thread::spawn(move || other.advance(end));
        while frontier.lock().written_to < end {
            std::thread::yield_now();
        }
        assert!(!writer.is_finished());
        frontier.release(&claim, true);
        writer.join().unwrap();
    }

    #[test]
    fn a_range_for_which_there_was_no_space_is_tried_again() {
        let frontier = frontier(64 << 20);
        let first = frontier.claim().unwrap();
        frontier.release(&first, false);
        let again = frontier.claim().unwrap();
        assert_eq!(again.range, first.range);
        frontier.release(&again, true);
        assert_eq!(frontier.claim().unwrap().range.start, first.range.end);
    }

    #[test]
    fn after_a_truncation_the_writer_still_waits_for_what_is_being_zeroed() {
        let frontier = Arc::new(frontier(64 << 20));
        frontier.advance(20 << 20);
        let claim = frontier.claim().unwrap();
        frontier.begin(Some(claim.file.clone()), 64 << 20, 8192);
        let (end, other) = (claim.range.start + 1, frontier.clone());
        let writer = std::thread::spawn(move || other.advance(end));
        while frontier.lock().written_to < end {
            std::thread::yield_now();
        }
        assert!(frontier.lock().zeroing.is_some() && !writer.is_finished());
        frontier.release(&claim, true);
        writer.join().unwrap();
    }

    #[test]
    fn a_claim_on_an_earlier_file_holds_up_nobody() {
        let frontier = frontier(64 << 20);
        let claim = frontier.claim().unwrap();
        frontier.begin(Some(file("/d/g")), 64 << 20, 4096);
        frontier.advance(50 << 20);
        frontier.release(&claim, true);
        assert_eq!(frontier.lock().zeroed_to, 4096);
        frontier.begin(None, 0, 0);
        assert!(frontier.claim().is_none());
    }
}
