//! Plants bugs and counts the seeds until the suite notices: what it cannot find when it is there proves nothing when it
//! finds nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use raft_log::planted::{Bug, plant};

use crate::run::run;

/// Seeds after which a bug counts as not found, unless told otherwise.
pub const SEEDS_MAX: u64 = 60;
/// Searches for each bug unless told otherwise, each from another seed on.
pub const SEARCHES: u64 = 5;
/// Seeds between two searches.
const APART: u64 = 100_000;

/// How long to search.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Searches for each bug.
    pub searches: u64,
    /// Seeds after which one gives up.
    pub seeds_max: u64,
}

/// One search for one bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Seeds run, the one that found it included.
    pub seeds: u64,
    /// Who noticed.
    pub checker: &'static str,
}

/// What was found of one bug.
#[derive(Clone, Debug)]
pub struct Found {
    /// The bug.
    pub bug: Bug,
    /// Searches.
    pub searches: u64,
    /// Those that found it, in the order of the seeds they needed.
    pub hits: Vec<Hit>,
    /// Seeds that each of the others has run.
    pub seeds: u64,
}

impl Found {
    /// The median of the seeds needed; a search that found nothing counts as more than any.
    #[must_use]
    pub fn median(&self) -> Option<u64> {
        let middle = usize::try_from(self.searches / 2).expect("few");
        self.hits.get(middle).map(|hit| hit.seeds)
    }

    /// The line of the table.
    #[must_use]
    pub fn line(&self) -> String {
        let mut by: BTreeMap<&str, u64> = BTreeMap::new();
        for hit in &self.hits {
            *by.entry(hit.checker).or_default() += 1;
        }
        let by: Vec<String> = by.iter().map(|(checker, count)| format!("{checker} ({count})")).collect();
        let median = self.median().map_or_else(|| format!("> {}", self.seeds), |median| median.to_string());
        format!("| {:<46} | {:<60} | {:>6} |", self.bug.name(), by.join(", "), median)
    }
}

/// Searches for these bugs on all cores; `each` sees the result of a bug when it is complete.
pub fn search(bugs: &[Bug], effort: Effort, each: impl Fn(&Found) + Sync) -> Vec<Found> {
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<Found>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    plant(Some(*bug));
                    let one = search_for(*bug, effort, |seed| run(seed).violation.map(|violation| violation.checker));
                    plant(None);
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

/// All searches for one bug go side by side, a seed of each at a time, and end when the median is known.
fn search_for(bug: Bug, effort: Effort, try_seed: impl Fn(u64) -> Option<&'static str>) -> Found {
    let mut found = Found { bug, searches: effort.searches, hits: Vec::new(), seeds: 0 };
    let mut open: Vec<u64> = (0..effort.searches).map(|search| 1 + search * APART).collect();
    while found.seeds < effort.seeds_max && found.median().is_none() {
        let at = found.seeds;
        found.seeds += 1;
        open.retain(|from| match try_seed(from + at) {
            Some(checker) => {
                found.hits.push(Hit { seeds: at + 1, checker });
                false
            }
            None => true,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searched(finds_at: [u64; 3]) -> Found {
        let effort = Effort { searches: 3, seeds_max: 10 };
        search_for(Bug::AckBeforeFsync, effort, |seed| {
            let (search, at) = (usize::try_from(seed / APART).unwrap(), seed % APART);
            (at == finds_at[search]).then_some("checker")
        })
    }

    #[test]
    fn a_search_ends_when_the_median_is_known() {
        let found = searched([7, 2, 99]);
        assert_eq!((found.median(), found.seeds, found.hits.len()), (Some(7), 7, 2));
    }

    #[test]
    fn what_most_searches_do_not_find_is_not_found() {
        let found = searched([99, 2, 99]);
        assert_eq!((found.median(), found.seeds), (None, 10));
    }
}
