//! Followers that were sent a checkpoint and have not caught up yet.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::types::{LogIndex, NodeId};

/// A follower that makes no progress for this long is not waited for: it may never come back.
const IDLE_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
struct CatchUp {
    /// The follower has caught up at this entry; unknown while its checkpoint is on the way.
    until: Option<LogIndex>,
    matched: Option<LogIndex>,
    moved_at: Instant,
}

/// Who is being brought up by this node. Purging waits for them (hazards 25).
#[derive(Debug, Default)]
pub(crate) struct CatchUps {
    active: Mutex<BTreeMap<NodeId, CatchUp>>,
}

impl CatchUps {
    /// A checkpoint is on its way.
    pub(crate) fn transferring(&self, node: NodeId) {
        self.active().insert(node, CatchUp { until: None, matched: None, moved_at: Instant::now() });
    }

    /// It is installed; the log up to `until` follows.
    pub(crate) fn installed(&self, node: NodeId, until: LogIndex) {
        self.active().insert(node, CatchUp { until: Some(until), matched: None, moved_at: Instant::now() });
    }

    /// Forgets who has caught up, who makes no progress any more, and, with no `matched` at all, everybody: another node
    /// leads then.
    pub(super) fn review(&self, matched: Option<&BTreeMap<NodeId, Option<LogIndex>>>, now: Instant) {
        let Some(matched) = matched else { return self.active().clear() };
        self.active().retain(|node, catch_up| {
            let now_matched = matched.get(node).copied().flatten();
            if now_matched != catch_up.matched {
                (catch_up.matched, catch_up.moved_at) = (now_matched, now);
            }
            let done = catch_up.until.is_some_and(|until| now_matched >= Some(until));
            !done && now.saturating_duration_since(catch_up.moved_at) < IDLE_MAX
        });
    }

    pub(super) fn any(&self) -> bool {
        !self.active().is_empty()
    }

    fn active(&self) -> MutexGuard<'_, BTreeMap<NodeId, CatchUp>> {
        self.active.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(3);

    fn matched(index: u64) -> BTreeMap<NodeId, Option<LogIndex>> {
        BTreeMap::from([(NODE, Some(LogIndex(index)))])
    }

    #[test]
    fn a_follower_counts_until_it_has_what_was_there_when_it_was_installed() {
        let (catch_ups, now) = (CatchUps::default(), Instant::now());
        catch_ups.transferring(NODE);
        catch_ups.review(Some(&matched(1 << 40)), now);
        assert!(catch_ups.any(), "while its checkpoint is on the way it is matched nowhere");
        catch_ups.installed(NODE, LogIndex(50));
        catch_ups.review(Some(&matched(49)), now);
        assert!(catch_ups.any());
        catch_ups.review(Some(&matched(50)), now);
        assert!(!catch_ups.any());
    }

    #[test]
    fn nobody_waits_for_a_follower_that_is_gone_nor_for_another_leaders() {
        let catch_ups = CatchUps::default();
        catch_ups.installed(NODE, LogIndex(50));
        let mut now = Instant::now();
        for index in 0..5 {
            now += IDLE_MAX - Duration::from_secs(1);
            catch_ups.review(Some(&matched(index)), now);
            assert!(catch_ups.any(), "it moves");
        }
        catch_ups.review(Some(&matched(4)), now + IDLE_MAX);
        assert!(!catch_ups.any());
        catch_ups.transferring(NODE);
        catch_ups.review(None, now);
        assert!(!catch_ups.any());
    }
}
