//! A leader that is deaf and dumb but for one late answer gives no read point (hazards 33).

use std::time::Duration;

use raft_log::ElectionOptions;
use raft_log::planted::{Bug, plant};
use raft_log::types::LogIndex;
use simulation::hosts::host;
use tokio::time::Instant;

use crate::group::with_group;

const ELECTION: ElectionOptions = ElectionOptions {
    heartbeat_interval: Duration::from_millis(20),
    timeout_min: Duration::from_millis(100),
    timeout_max: Duration::from_millis(150),
};
/// The leader's own fsync of its last entry takes so long; then it commits, and tells so in a request without entries.
const OWN_SYNC_MILLIS: u64 = 700;
/// The answer of one follower to that entry travels so long.
const ANSWER_MILLIS: u64 = 760;
/// The read begins between the acknowledgement of the new leader and the commit at the old one.
const READ_AT: Duration = Duration::from_millis(660);

/// What a read at the old leader found, and what was acknowledged before it; `None` if no other leader was elected in time.
///
/// ```text
///   old   entry out ─x cut ────────────── read ── own sync done: commit told ──  answer of `slow` ─► confirmed?
///   slow      └─ answer ───────────── on its way ────────────────────────────────────┘
///   new              elected, acknowledges
/// ```
fn read_at_old_leader(seed: u64) -> Option<(Option<LogIndex>, LogIndex)> {
    with_group(seed, 3, ELECTION, async |mut group| {
        group.pass(Duration::from_millis(300)).await;
        let old = group.leader();
        let (slow, quick) = ((old + 1) % 3, (old + 2) % 3);
        group.cluster.network.set_latency_millis(host(slow), host(old), Some((ANSWER_MILLIS, ANSWER_MILLIS)));
        group.cluster.nodes[old].process.as_ref()?.set_disk_delay_millis(OWN_SYNC_MILLIS, OWN_SYNC_MILLIS);
        let begin = Instant::now();
        drop(group.propose(old, 1));
        group.pass(Duration::from_millis(10)).await;
        for (from, to) in [(old, slow), (old, quick), (quick, old)] {
            group.cut_one_way(from, to, true);
        }
        let elected = |group: &crate::group::Group| group.leads(slow) || group.leads(quick);
        if !group.until(READ_AT, elected).await {
            return None;
        }
        let new = if group.leads(slow) { slow } else { quick };
        let written = group.propose(new, 2);
        if !group.until((begin + READ_AT).duration_since(Instant::now()), |_| written.is_finished()).await {
            return None;
        }
        let written = written.await.ok().flatten()?;
        group.pass((begin + READ_AT).duration_since(Instant::now())).await;
        let reader = group.replica(old);
        let read = tokio::spawn(async move { reader.read_index().await.ok() });
        group.until(Duration::from_secs(3), |_| read.is_finished()).await;
        Some((read.await.ok().flatten(), written.index))
    })
}

#[test]
fn a_late_answer_to_an_older_request_confirms_no_read_point() {
    const SEEDS: u64 = 40;
    let runs = || (1..=SEEDS).filter_map(read_at_old_leader);
    plant(Some(Bug::AnswerForLater));
    let stale = runs().filter(|(read, written)| read.is_some_and(|read| read < *written)).count();
    plant(None);
    assert!(stale > 0, "the schedule brings the stale read about where openraft's word is taken");
    let mut reads = 0;
    for (read, written) in runs() {
        reads += 1;
        assert!(read.is_none_or(|read| read >= written), "a read point of {read:?} after {written} was acknowledged");
    }
    assert!(reads > 0);
}
