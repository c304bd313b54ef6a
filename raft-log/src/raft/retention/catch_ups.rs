//! Followers that were sent a checkpoint and have not caught up yet.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::types::{LogId, LogIndex, NodeId};

/// A follower that makes no progress for this long is not waited for: it may never come back.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// How long a full disk spares what a follower is being brought up with, at first. Each time that the checkpoint under way had to
/// give way to a newer one, the next is spared for twice as long: under lasting pressure a large transfer ends at last.
const SPARED_MIN: Duration = Duration::from_secs(600);
const SPARED_MAX: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Copy, Debug)]
struct CatchUp {
    /// The checkpoint, and since when this one is under way.
    checkpoint: LogId,
    begun_at: Instant,
    spared: Duration,
    /// The follower has caught up at this entry; unknown while its checkpoint is on the way.
    until: Option<LogIndex>,
    matched: Option<LogIndex>,
    moved_at: Instant,
}

/// Who is being brought up by this node. Purging waits for them (hazards 25).
#[derive(Debug, Default)]
pub(crate) struct CatchUps {
    active: Mutex<BTreeMap<NodeId, CatchUp>>,
    /// A follower was to get the checkpoint at the purge point, and this node has no sound one.
    without_checkpoint: AtomicBool,
}

impl CatchUps {
    /// A follower cannot be brought up by this node.
    pub(crate) fn lacks_checkpoint(&self) {
        self.without_checkpoint.store(true, Ordering::Relaxed);
    }

    /// Whether a follower could not be brought up by this node since this was asked last.
    pub(super) fn take_lacking(&self) -> bool {
        self.without_checkpoint.swap(false, Ordering::Relaxed)
    }

    /// A checkpoint is on its way, anew or again over a new connection.
    pub(crate) fn transferring(&self, node: NodeId, checkpoint: LogId) {
        let now = Instant::now();
        let mut active = self.active();
        let last = active.get(&node);
        let (begun_at, spared) = match last {
            Some(last) if last.checkpoint == checkpoint => (last.begun_at, last.spared),
            Some(last) => (now, (last.spared * 2).min(SPARED_MAX)),
            None => (now, SPARED_MIN),
        };
        let catch_up = CatchUp { checkpoint, begun_at, spared, until: None, matched: None, moved_at: now };
        active.insert(node, catch_up);
    }

    /// A piece of it has arrived.
    pub(crate) fn moved(&self, node: NodeId) {
        if let Some(catch_up) = self.active().get_mut(&node) {
            catch_up.moved_at = Instant::now();
        }
    }

    /// It is installed; the log up to `until` follows.
    pub(crate) fn installed(&self, node: NodeId, until: LogIndex) {
        if let Some(catch_up) = self.active().get_mut(&node) {
            (catch_up.until, catch_up.matched, catch_up.moved_at) = (Some(until), None, Instant::now());
        }
    }

    /// Whether purging waits now; on a disk that is `crowded` only for those that it still spares.
    pub(super) fn hold(&self, crowded: bool, now: Instant) -> bool {
        let spared = |catch_up: &CatchUp| now.saturating_duration_since(catch_up.begun_at) < catch_up.spared;
        self.active().values().any(|catch_up| !crowded || spared(catch_up))
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

    fn active(&self) -> MutexGuard<'_, BTreeMap<NodeId, CatchUp>> {
        self.active.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(3);

    fn checkpoint(index: u64) -> LogId {
        LogId { term: crate::types::Term(1), index: LogIndex(index) }
    }

    fn matched(index: u64) -> BTreeMap<NodeId, Option<LogIndex>> {
        BTreeMap::from([(NODE, Some(LogIndex(index)))])
    }

    #[test]
    fn a_follower_counts_until_it_has_what_was_there_when_it_was_installed() {
        let (catch_ups, now) = (CatchUps::default(), Instant::now());
        catch_ups.transferring(NODE, checkpoint(5));
        catch_ups.review(Some(&matched(1 << 40)), now);
        assert!(catch_ups.hold(false, Instant::now()), "while its checkpoint is on the way it is matched nowhere");
        catch_ups.installed(NODE, LogIndex(50));
        catch_ups.review(Some(&matched(49)), now);
        assert!(catch_ups.hold(false, Instant::now()));
        catch_ups.review(Some(&matched(50)), now);
        assert!(!catch_ups.hold(false, Instant::now()));
    }

    #[test]
    fn nobody_waits_for_a_follower_that_is_gone_nor_for_another_leaders() {
        let catch_ups = CatchUps::default();
        catch_ups.transferring(NODE, checkpoint(5));
        catch_ups.installed(NODE, LogIndex(50));
        let mut now = Instant::now();
        for index in 0..5 {
            now += IDLE_MAX - Duration::from_secs(1);
            catch_ups.review(Some(&matched(index)), now);
            assert!(catch_ups.hold(false, Instant::now()), "it moves");
        }
        catch_ups.review(Some(&matched(4)), now + IDLE_MAX);
        assert!(!catch_ups.hold(false, Instant::now()));
        catch_ups.transferring(NODE, checkpoint(5));
        catch_ups.review(None, now);
        assert!(!catch_ups.hold(false, Instant::now()));
    }

    // A disk above its high-water mark purged what a large transfer was about, again and again, and it never ended.
    #[test]
    fn a_full_disk_spares_a_transfer_longer_each_time_it_had_to_begin_anew() {
        let (catch_ups, begin) = (CatchUps::default(), Instant::now());
        let held_until = |checkpoint_index: u64| {
            catch_ups.transferring(NODE, checkpoint(checkpoint_index));
            let holds = |minutes: u64| catch_ups.hold(true, begin + Duration::from_secs(minutes * 60));
            assert!(catch_ups.hold(false, begin + Duration::from_secs(1 << 30)), "with room it always waits");
            (0..).find(|minutes| !holds(*minutes)).unwrap()
        };
        let first = held_until(5);
        assert!((10..=11).contains(&first));
        assert_eq!(held_until(5), first, "the same one over a new connection");
        assert!((20..=21).contains(&held_until(6)));
        assert!((40..=41).contains(&held_until(7)));
    }

    #[test]
    fn a_transfer_that_moves_is_waited_for_however_long_it_takes() {
        let catch_ups = CatchUps::default();
        catch_ups.transferring(NODE, checkpoint(5));
        catch_ups.review(Some(&matched(1)), Instant::now());
        catch_ups.active().get_mut(&NODE).unwrap().moved_at -= IDLE_MAX;
        catch_ups.moved(NODE);
        catch_ups.review(Some(&matched(1)), Instant::now());
        assert!(catch_ups.hold(false, Instant::now()));
        catch_ups.active().get_mut(&NODE).unwrap().moved_at -= IDLE_MAX;
        catch_ups.review(Some(&matched(1)), Instant::now());
        assert!(!catch_ups.hold(false, Instant::now()));
    }
}
