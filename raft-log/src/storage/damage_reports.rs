//! Damaged records that somebody met, until they are repaired.
//!
//! Readers and the scrub report what they met; whoever attends to it (a replica's repair) settles it; a reader that may
//! wait is told. A log that nobody attends to only refuses the read.

use crate::types::LogIndex;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;

/// Reports at once; more are dropped, and come again with the next read.
const REPORTS_MAX: usize = 1_024;

/// What is reported now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    open: BTreeSet<LogIndex>,
    attended: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct DamageReports {
    reported: watch::Sender<Reported>,
}

impl DamageReports {
    /// The record of this index could not be read.
    pub(crate) fn report(&self, index: LogIndex) {
        self.reported.send_if_modified(|reported| {
            reported.attended && reported.open.len() < REPORTS_MAX && reported.open.insert(index)
        });
    }

    /// From now on somebody takes care of what is reported.
    pub(crate) fn attend(&self) {
        self.reported.send_modify(|reported| reported.attended = true);
    }

    /// Waits for a report and gives the lowest behind `behind`, or the lowest of all; it stays until it is settled. Whoever
    /// attends goes round this way: what cannot be repaired now does not stand before what can.
    pub(crate) async fn next(&self, behind: Option<LogIndex>) -> LogIndex {
        let mut watch = self.reported.subscribe();
        loop {
            let found = {
                let open = &watch.borrow_and_update().open;
                let later = behind.and_then(|behind| open.range(behind.next()..).next());
                later.or(open.first()).copied()
            };
            if let Some(found) = found {
                return found;
            }
            if watch.changed().await.is_err() {
                // The sender lives in `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// What was reported at this index is repaired, or was no damage; says whether nothing else is open.
    pub(crate) fn settle(&self, index: LogIndex) -> bool {
        self.reported.send_modify(|reported| {
            reported.open.remove(&index);
        });
        self.reported.borrow().open.is_empty()
    }

    /// Waits until what is reported at this index is settled; `false` if that takes too long or nobody attends.
    pub(crate) async fn settled(&self, index: LogIndex, patience: Duration) -> bool {
        let mut watch = self.reported.subscribe();
        if !watch.borrow().attended {
            return false;
        }
        let settled = watch.wait_for(|reported| !reported.open.contains(&index));
        matches!(tokio::time::timeout(patience, settled).await, Ok(Ok(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_report_stays_until_it_is_settled() {
        let reports = DamageReports::default();
        reports.report(LogIndex(1));
        assert!(!reports.settled(LogIndex(1), Duration::ZERO).await, "nobody attends");
        reports.attend();
        reports.report(LogIndex(9));
        reports.report(LogIndex(7));
        assert_eq!(reports.next(None).await, LogIndex(7));
        assert!(!reports.settled(LogIndex(7), Duration::ZERO).await);
        assert!(!reports.settle(LogIndex(7)));
        assert!(reports.settled(LogIndex(7), Duration::ZERO).await);
        assert_eq!(reports.next(None).await, LogIndex(9));
        assert!(reports.settle(LogIndex(9)));
    }

    #[tokio::test]
    async fn all_reports_have_their_turn() {
        let reports = DamageReports::default();
        reports.attend();
        [3, 7, 9].into_iter().for_each(|index| reports.report(LogIndex(index)));
        let mut last = None;
        for expected in [3, 7, 9, 3, 7] {
            last = Some(reports.next(last).await);
            assert_eq!(last, Some(LogIndex(expected)));
        }
    }
}
