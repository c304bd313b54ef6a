//! Many seeds, on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::run::{Report, run};

/// Runs seeds `from..from + count`; `each` sees the reports as they come, in no particular order, and says whether to go
/// on.
pub fn many(from: u64, count: u64, each: impl FnMut(u64, Report) -> bool + Send) {
    let next = AtomicU64::new(from);
    let end = from + count;
    let each = Mutex::new((each, true));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let report = run(seed);
                    let mut each = each.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    if !each.1 {
                        return;
                    }
                    each.1 = (each.0)(seed, report);
                }
            });
        }
    });
}
