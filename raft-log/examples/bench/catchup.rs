//! What publishing keeps while a follower that lacks a log of several GiB catches up.
//!
//! ```text
//!   three members, load ─► one of them goes ──────► load ─► it returns, under load ─► it has all, and is a voter
//!   "before"               behind: the rest is filled       "during"
//!                          wiped: its folder is gone         under a fresh id: learner, then swapped in
//! ```
//! Each case is measured twice: in a closed loop, which shows the rate that is kept and is held to the bounds, and in an
//! open loop at half of the rate that the group reached before, which shows what each entry waits. The oldest segments
//! may be purged meanwhile, so the follower begins with a checkpoint and gets the rest from the log.
//!
//! All replicas share the machine's cores and its disk, which in earnest only the leader's sending would cost the
//! publishers. That is why the open loop is not held to a bound: one sync that waits for what another replica wrote, or
//! one pause of the machine, is a hundredth of its entries.

use std::time::{Duration, Instant};

use raft_log::types::{LogIndex, NodeId};
use raft_log::{ChangeError, Replica};

use crate::arguments::Arguments;
use crate::backlog::fill;
use crate::group::Group;
use crate::load::{Failures, Load, Measured, Pace};
use crate::memory::PeakMemory;

/// The bounds of the promise.
const KEPT_MIN: f64 = 0.7;
const P99_RATIO_MAX: f64 = 3.0;
/// Not measured: the load settles, and so does what a phase has begun.
const SETTLE: Duration = Duration::from_secs(2);
/// Pause before a node that was not quite caught up is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// Why the follower lacks the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Behind,
    Wiped,
}

impl Case {
    fn name(self) -> &'static str {
        match self {
            Case::Behind => "was away",
            Case::Wiped => "wiped, fresh id",
        }
    }
}

/// One follower that caught up.
struct Row {
    case: Case,
    pace: Pace,
    before: Measured,
    during: Measured,
    took: Duration,
    memory_mib: (u64, u64),
}

struct Sizes {
    log_bytes: u64,
    entry_bytes: usize,
    proposers: usize,
    lasting: Duration,
}

/// Whether the bounds were kept.
pub(crate) async fn run(arguments: &Arguments) -> bool {
    let gib: u64 = arguments.get("gib", 5);
    let sizes = Sizes {
        log_bytes: gib << 30,
        entry_bytes: arguments.get("size", 1024),
        proposers: arguments.get("conc", 256),
        lasting: Duration::from_secs(arguments.get("secs", 15)),
    };
    let mut group = Group::open(arguments).await;
    let leader = group.leader().await;
    fill(group.replica(leader), sizes.log_bytes).await;
    println!("A follower that lacks {gib} GiB catches up; entries of {} bytes.\n", sizes.entry_bytes);
    println!("| follower | load | before/s | during/s | kept | p99, max before | during | ratio | time | memory |");
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut kept = true;
    for case in [Case::Behind, Case::Wiped] {
        let row = catch_up(&mut group, case, Pace::Closed(sizes.proposers), &sizes).await;
        kept &= row.print();
        let half = Pace::Open((row.before.rate / 2.0).round());
        catch_up(&mut group, case, half, &sizes).await.print();
    }
    let kept_min = 100.0 * KEPT_MIN;
    println!(
        "\nin the closed loop at least {kept_min:.0} % kept, p99 at most {P99_RATIO_MAX} times: {}",
        if kept { "kept" } else { "BROKEN" }
    );
    kept
}

async fn catch_up(group: &mut Group, case: Case, pace: Pace, sizes: &Sizes) -> Row {
    let at = group.leader().await;
    let leader = group.replica(at).clone();
    let mut late = group.places().find(|place| *place != at).expect("a follower runs");
    let mut load = Load::start(&leader, pace, sizes.entry_bytes);
    tokio::time::sleep(SETTLE).await;
    load.take();
    tokio::time::sleep(sizes.lasting).await;
    let before = load.take();
    load.stop().await;

    let gone = late;
    group.kill(gone).await;
    match case {
        Case::Behind => fill(&leader, sizes.log_bytes).await,
        Case::Wiped => late = group.replace_by_an_empty_one(gone),
    }
    let mut load = Load::start(&leader, pace, sizes.entry_bytes);
    tokio::time::sleep(SETTLE).await;
    let target = leader.status().applied.expect("it was filled").index;
    let (memory, begin) = (PeakMemory::start(), Instant::now());
    load.take();
    group.restart(late).await;
    if case == Case::Wiped {
        leader.add_learner(Group::id(late), group.address(late).to_owned()).await.expect("an empty node joins");
    }
    caught_up(group.replica(late), &leader, target).await;
    if case == Case::Wiped {
        swapped(&leader, Group::id(gone), Group::id(late)).await;
    }
    let (took, during) = (begin.elapsed(), load.take());
    load.stop().await;
    Row { case, pace, before, during, took, memory_mib: (memory.begin_mib, memory.stop()) }
}

/// Waits until `late` has applied what the leader had when it began, and is within a moment of the leader's end.
async fn caught_up(late: &Replica, leader: &Replica, target: LogIndex) {
    const NEAR: u64 = 20_000;
    let mut watch = late.watch();
    let near = |applied: LogIndex| leader.status().applied.is_some_and(|leads| leads.index.0 <= applied.0 + NEAR);
    let reached =
        watch.wait_for(|status| status.applied.is_some_and(|applied| applied.index >= target && near(applied.index)));
    drop(reached.await.expect("the follower lives"));
}

/// Gives the vote of `old` to `new`, as soon as the leader finds it caught up.
async fn swapped(leader: &Replica, old: NodeId, new: NodeId) {
    loop {
        match leader.swap(old, new).await {
            Ok(()) => return,
            Err(ChangeError::Behind { .. }) => tokio::time::sleep(AGAIN).await,
            Err(refused) => panic!("the swap is refused: {refused}"),
        }
    }
}

impl Row {
    /// Whether the bounds were kept.
    fn print(&self) -> bool {
        let Row { before, during, .. } = self;
        let mut unknown = 0;
        let (kept, ratio) = (during.rate / before.rate, during.p99_ms / before.p99_ms);
        println!(
            "| {} | {} | {:.0} | {:.0} | {:.0} % | {:.1}, {:.0} ms | {:.1}, {:.0} ms | {ratio:.2} | {:.1} s | {} MiB, at most {} MiB |",
            self.case.name(),
            self.pace,
            before.rate,
            during.rate,
            100.0 * kept,
            before.p99_ms,
            before.max_ms,
            during.p99_ms,
            during.max_ms,
            self.took.as_secs_f64(),
            self.memory_mib.0,
            self.memory_mib.1,
        );
        for (phase, measured) in [("before", before), ("during", during)] {
            for (reason, Failures { count, first, refused }) in &measured.failures {
                unknown += if *refused { 0 } else { *count };
                println!("{count} entries failed {phase} it, the first after {:.1} s: {reason}", first.as_secs_f64());
            }
        }
        // What was refused counts against the rate: a leader that a majority has not answered for its lease refuses.
        kept >= KEPT_MIN && ratio <= P99_RATIO_MAX && unknown == 0
    }
}
