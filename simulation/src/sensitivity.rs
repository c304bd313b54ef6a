//! Plants bugs and counts the seeds until the suite notices: what it cannot find when it is there proves nothing when it
//! finds nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use raft_log::planted::{Bug, plant};

use crate::run::run;

/// Seeds after which a bug counts as not found.
pub const SEEDS_MAX: u64 = 200;
/// Searches for each bug unless told otherwise, each from another seed on.
pub const SEARCHES: u64 = 5;
/// Seeds between two searches.
const APART: u64 = 100_000;

/// One search for one bug.
#[derive(Clone, Debug)]
pub struct Search {
    /// Seeds run, the one that found it included; `None` if none did.
    pub seeds: Option<u64>,
    /// Who noticed.
    pub checker: &'static str,
}

/// What was found of one bug.
#[derive(Clone, Debug)]
pub struct Found {
    /// The bug.
    pub bug: Bug,
    /// All searches.
    pub searches: Vec<Search>,
}

impl Found {
    /// The median of the seeds needed; a search that found nothing counts as more than any.
    #[must_use]
    pub fn median(&self) -> Option<u64> {
        let mut seeds: Vec<u64> = self.searches.iter().map(|search| search.seeds.unwrap_or(u64::MAX)).collect();
        seeds.sort_unstable();
        seeds.get(seeds.len() / 2).copied().filter(|seeds| *seeds <= SEEDS_MAX)
    }

    /// The line of the table.
    #[must_use]
    pub fn line(&self) -> String {
        let mut by: BTreeMap<&str, u64> = BTreeMap::new();
        for search in self.searches.iter().filter(|search| search.seeds.is_some()) {
            *by.entry(search.checker).or_default() += 1;
        }
        let by: Vec<String> = by.iter().map(|(checker, count)| format!("{checker} ({count})")).collect();
        let median = self.median().map_or_else(|| "not found".to_owned(), |median| median.to_string());
        let most = self.searches.iter().map(|search| search.seeds.unwrap_or(u64::MAX)).max().unwrap_or(0);
        let most = if most > SEEDS_MAX { format!("> {SEEDS_MAX}") } else { most.to_string() };
        format!("| {:<32} | {:<45} | {:>9} | {:>5} |", self.bug.name(), by.join(", "), median, most)
    }
}

/// Searches for these bugs, each so many times, on all cores; `each` sees the result of a bug when it is complete.
pub fn search(bugs: &[Bug], searches: u64, each: impl Fn(&Found) + Sync) -> Vec<Found> {
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<Found>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let one = Found { bug: *bug, searches: (0..searches).map(|at| search_once(*bug, at)).collect() };
                    each(&one);
                    found.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|found| found.bug);
    found
}

fn search_once(bug: Bug, at: u64) -> Search {
    let from = 1 + at * APART;
    plant(Some(bug));
    let hit =
        (0..SEEDS_MAX).find_map(|count| run(from + count).violation.map(|violation| (count + 1, violation.checker)));
    plant(None);
    Search { seeds: hit.map(|(seeds, _)| seeds), checker: hit.map_or("", |(_, checker)| checker) }
}
