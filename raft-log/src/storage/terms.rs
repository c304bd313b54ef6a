//! The term of every entry, as runs: a term changes only at an election, so the list stays short.

use crate::types::{LogId, LogIndex, Term};

/// Ascending runs of equal terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The first entry of each run.
    runs: Vec<LogId>,
}

impl Terms {
    /// Notes the next entry.
    pub(crate) fn push(&mut self, id: LogId) {
        if let Some(run) = self.runs.last() {
            assert!(run.term <= id.term, "a term never falls along the log: {run} then {id}");
            assert!(run.index < id.index, "entries are noted in order: {run} then {id}");
            if run.term == id.term {
                return;
            }
        }
        self.runs.push(id);
    }

    /// The term at `index`, if the log begins at or below it. The caller knows where the log ends.
    pub(crate) fn at(&self, index: LogIndex) -> Option<Term> {
        let after = self.runs.partition_point(|run| run.index <= index);
        Some(self.runs.get(after.checked_sub(1)?)?.term)
    }

    /// The terms of the entries from `base` up to `end`, each with its first entry there.
    pub(crate) fn runs_between(&self, base: LogIndex, end: LogIndex) -> Vec<LogId> {
        let first = self.at(base).map(|term| LogId { term, index: base });
        let later = self.runs.iter().filter(|run| run.index > base && run.index < end);
        first.into_iter().chain(later.copied()).collect()
    }

    /// Forgets `first_removed` and all entries after it.
    pub(crate) fn truncate(&mut self, first_removed: LogIndex) {
        let keep = self.runs.partition_point(|run| run.index < first_removed);
        self.runs.truncate(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_found_by_index() {
        let mut terms = Terms::default();
        for (index, term) in [(5, 1), (6, 1), (7, 2), (8, 4), (9, 4)] {
            terms.push(LogId { term: Term(term), index: LogIndex(index) });
        }
        let at = |terms: &Terms, index| terms.at(LogIndex(index)).map(|term| term.0);
        assert_eq!(
            [4, 5, 6, 7, 8, 9].map(|index| at(&terms, index)),
            [None, Some(1), Some(1), Some(2), Some(4), Some(4)]
        );
        let run = |term, index| LogId { term: Term(term), index: LogIndex(index) };
        assert_eq!(terms.runs_between(LogIndex(6), LogIndex(8)), [run(1, 6), run(2, 7)]);
        assert_eq!(terms.runs_between(LogIndex(8), LogIndex(10)), [run(4, 8)]);
        terms.truncate(LogIndex(8));
        terms.push(LogId { term: Term(3), index: LogIndex(8) });
        assert_eq!(at(&terms, 8), Some(3));
    }
}
