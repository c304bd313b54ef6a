//! Where only age bounds the log, nothing is trimmed before its time, whatever the clocks of some nodes say.

use std::collections::BTreeMap;
use std::time::Duration;

use raft_log::sim::observe::{Deed, Event};
use raft_log::types::LogId;
use tokio::time::Instant;

use crate::checkers::Checker;
use crate::settings::Settings;
use crate::view::View;

/// Clocks that differ a little may cost an entry this part of its time.
const TOLERATED_PERCENT: u32 = 50;

pub(super) struct KeptForItsAge {
    least: Option<Duration>,
    /// When each entry was appended first: a node that was behind appends later what is as old as elsewhere.
    appended: BTreeMap<u64, (LogId, Instant)>,
    /// Everything before this was trimmed by somebody: a node that is behind still appends it.
    trimmed: u64,
}

impl KeptForItsAge {
    pub(super) fn new(settings: &Settings) -> KeptForItsAge {
        let retention = settings.retention;
        let age_max = retention.age_max.filter(|_| retention.bytes_max.is_none());
        KeptForItsAge::of(age_max.map(|age| age * TOLERATED_PERCENT / 100))
    }

    fn of(least: Option<Duration>) -> KeptForItsAge {
        KeptForItsAge { least, appended: BTreeMap::new(), trimmed: 0 }
    }
}

impl Checker for KeptForItsAge {
    fn name(&self) -> &'static str {
        "kept for its age"
    }

    fn check(&mut self, _view: &View, event: &Event) -> Result<(), String> {
        let Some(least) = self.least else { return Ok(()) };
        match &event.deed {
            Deed::Appended(entries) => {
                for entry in entries.iter().filter(|entry| entry.id.index.0 >= self.trimmed) {
                    let first = (entry.id, Instant::now());
                    let known = self.appended.entry(entry.id.index.0).or_insert(first);
                    if known.0 != entry.id {
                        *known = first;
                    }
                }
                Ok(())
            }
            Deed::Trimmed(to) => {
                let youngest = self.appended.range(..to.0).next_back().map(|(_, (_, at))| at.elapsed());
                self.trimmed = self.trimmed.max(to.0);
                let left = self.appended.split_off(&to.0);
                self.appended = left;
                match youngest.filter(|age| *age < least) {
                    Some(age) => Err(format!("it trimmed what is before {to}, of which the youngest was {age:?} old")),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{appended, by, entry};
    use raft_log::types::LogIndex;

    #[tokio::test(start_paused = true)]
    async fn what_is_trimmed_had_its_time() {
        let (view, age) = (View::default(), Duration::from_secs(10));
        let mut checker = KeptForItsAge::of(Some(age));
        checker.check(&view, &appended(1, &[entry(1, 0)])).unwrap();
        tokio::time::advance(age).await;
        checker.check(&view, &appended(1, &[entry(1, 1)])).unwrap();
        checker.check(&view, &by(1, Deed::Trimmed(LogIndex(1)))).unwrap();
        assert!(checker.check(&view, &by(1, Deed::Trimmed(LogIndex(2)))).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_as_old_as_its_first_copy() {
        let (view, age) = (View::default(), Duration::from_secs(10));
        let mut checker = KeptForItsAge::of(Some(age));
        checker.check(&view, &appended(1, &[entry(1, 0)])).unwrap();
        tokio::time::advance(age).await;
        checker.check(&view, &appended(2, &[entry(1, 0)])).unwrap();
        checker.check(&view, &by(2, Deed::Trimmed(LogIndex(1)))).unwrap();
        checker.check(&view, &appended(3, &[entry(1, 0)])).unwrap();
        checker.check(&view, &by(3, Deed::Trimmed(LogIndex(1)))).unwrap();
        // Another entry in its place is as old as itself.
        checker.check(&view, &appended(1, &[entry(1, 1)])).unwrap();
        tokio::time::advance(age).await;
        checker.check(&view, &appended(1, &[entry(2, 1)])).unwrap();
        assert!(checker.check(&view, &by(1, Deed::Trimmed(LogIndex(2)))).is_err());
    }
}
