//! Where only age bounds the log, nothing is trimmed before its time, whatever the clocks of some nodes say.

use std::collections::BTreeMap;
use std::time::Duration;

use raft_log::sim::observe::{Deed, Entry, Event};
use raft_log::storage::RecordKind;
use raft_log::types::LogId;
use tokio::time::Instant;

use crate::checkers::Checker;
use crate::history::stamp_of;
use crate::settings::Settings;
use crate::view::View;

/// Clocks that differ a little may cost an entry this part of its time.
const TOLERATED_PERCENT: u32 = 50;

pub(super) struct KeptForItsAge {
    least: Option<Duration>,
    /// When each entry was appended first: a node that was behind appends later what is as old as elsewhere.
    appended: BTreeMap<u64, Copied>,
    /// Everything before this was trimmed by somebody: a node that is behind still appends it.
    trimmed: u64,
}

/// An entry that some node holds.
struct Copied {
    id: LogId,
    first: Instant,
    /// What it carries has an age. A trim, a blank entry and a change of members have none and go with what is around them.
    /// Taken for true until the entry is applied, before which nobody trims it.
    aged: bool,
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

    fn append(&mut self, entries: &[Entry]) {
        for Entry { id, .. } in entries.iter().filter(|entry| entry.id.index.0 >= self.trimmed) {
            let copied = || Copied { id: *id, first: Instant::now(), aged: true };
            let known = self.appended.entry(id.index.0).or_insert_with(copied);
            if known.id != *id {
                *known = copied();
            }
        }
    }
}

impl Checker for KeptForItsAge {
    fn name(&self) -> &'static str {
        "kept for its age"
    }

    fn check(&mut self, _view: &View, event: &Event) -> Result<(), String> {
        let Some(least) = self.least else { return Ok(()) };
        match &event.deed {
            Deed::Appended(entries) => self.append(entries),
            Deed::Applied(entry, payload) if entry.kind != RecordKind::Command || stamp_of(payload).is_none() => {
                if let Some(known) = self.appended.get_mut(&entry.id.index.0) {
                    known.aged = false;
                }
            }
            Deed::Trimmed(to) => {
                let left = self.appended.split_off(&to.0);
                let trimmed = std::mem::replace(&mut self.appended, left);
                self.trimmed = self.trimmed.max(to.0);
                let youngest = trimmed.values().rfind(|entry| entry.aged).map(|entry| entry.first.elapsed());
                if let Some(age) = youngest.filter(|age| *age < least) {
                    return Err(format!("it trimmed what is before {to}, of which the youngest was {age:?} old"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{appended, by, entry};
    use crate::history::TRIM;
    use bytes::Bytes;
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
    #[tokio::test(start_paused = true)]
    async fn what_has_no_age_goes_with_what_is_around_it() {
        let (view, age) = (View::default(), Duration::from_secs(10));
        let mut checker = KeptForItsAge::of(Some(age));
        let stamped = Bytes::from_static(&[7; 16]);
        let trim = Bytes::copy_from_slice(&[&TRIM.to_le_bytes()[..], &[0; 8]].concat());
        checker.check(&view, &appended(1, &[entry(1, 0)])).unwrap();
        checker.check(&view, &by(1, Deed::Applied(entry(1, 0), stamped.clone()))).unwrap();
        tokio::time::advance(age).await;
        checker.check(&view, &appended(1, &[entry(1, 1), entry(1, 2)])).unwrap();
        checker.check(&view, &by(1, Deed::Applied(entry(1, 1), trim))).unwrap();
        checker.check(&view, &by(1, Deed::Trimmed(LogIndex(2)))).unwrap();
        checker.check(&view, &by(1, Deed::Applied(entry(1, 2), stamped))).unwrap();
        assert!(checker.check(&view, &by(1, Deed::Trimmed(LogIndex(3)))).is_err());
    }
}
