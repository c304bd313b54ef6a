//! Checkpoints to which the log is about to be purged.
//!
//! openraft purges when no replication stream reads below that point any more, which may be long after it was asked. The
//! checkpoint that stands for what goes must be there then (hazards 25), so it is held until the purge is done or has
//! been overtaken: thinning spares what somebody holds.

use std::sync::Arc;

use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::types::{LogId, LogIndex};

/// See the module.
#[derive(Default)]
pub(crate) struct AskedPurges {
    held: Vec<Arc<Checkpoint>>,
}

impl AskedPurges {
    /// Where a log that is purged up to `purged` is to be purged to, so that everything from `keep_from` on stays. It is held
    /// from now on.
    pub(super) fn next(
        &mut self,
        checkpoints: &Checkpoints,
        keep_from: LogIndex,
        purged: Option<LogId>,
    ) -> Option<LogId> {
        let checkpoint = checkpoints.newest_below(keep_from).filter(|newest| Some(newest.id()) > purged)?;
        let id = checkpoint.id();
        if self.held.iter().all(|held| held.id() != id) {
            self.held.push(checkpoint);
        }
        Some(id)
    }

    /// The log is purged up to here.
    pub(super) fn done(&mut self, purged: Option<LogId>) {
        // The one at the purge point as well: another task thins too, and may know an older purge point.
        self.held.retain(|held| Some(held.id()) >= purged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::SimEnv;
    use crate::state_machine::AppliedPoint;
    use crate::types::{GroupId, Term};
    use std::path::Path;

    fn id(index: u64) -> LogId {
        LogId { term: Term(1), index: LogIndex(index) }
    }

    // Found under simulation: a purge that came late went to a checkpoint that was thinned out meanwhile, and no follower
    // could be brought up any more.
    #[test]
    fn the_checkpoint_of_a_purge_stays_until_the_purge_is_done() {
        let env = SimEnv::new(1).env();
        let checkpoints = Checkpoints::open(&env, Path::new("/data"), GroupId(7)).unwrap();
        for index in [10, 20, 30, 40] {
            checkpoints.begin(LogIndex(index)).unwrap();
            checkpoints.seal(AppliedPoint { id: id(index), membership: None }).unwrap();
        }
        let kept = || checkpoints.all().iter().map(|checkpoint| checkpoint.id().index.0).collect::<Vec<_>>();
        let mut asked = AskedPurges::default();
        assert_eq!(asked.next(&checkpoints, LogIndex(30), Some(id(10))), Some(id(20)));
        assert_eq!(asked.next(&checkpoints, LogIndex(20), Some(id(10))), None, "the log is purged that far");
        asked.done(Some(id(10)));
        checkpoints.thin(Some(LogIndex(10)), 2).unwrap();
        assert_eq!(kept(), [10, 20, 40]);
        asked.done(Some(id(20)));
        checkpoints.thin(Some(LogIndex(20)), 2).unwrap();
        assert_eq!(kept(), [20, 40]);
        checkpoints.thin(Some(LogIndex(10)), 2).unwrap();
        assert_eq!(kept(), [20, 40], "also for who does not know of the purge");
        asked.done(Some(id(30)));
        checkpoints.thin(Some(LogIndex(40)), 2).unwrap();
        assert_eq!(kept(), [40], "nothing is held any more");
    }
}
