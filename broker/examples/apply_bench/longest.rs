//! The longest single call of `apply` while very much comes due at the same moment. Whatever is due is taken up in steps, so
//! each figure is how long everything else of the group waits at worst.

use std::time::{Duration, Instant};

use raft_log::types::{LogIndex, UnixMillis};
use tercet_broker::model::{GroupName, GroupSettings};
use tercet_broker::state::{CreateGroup, EncodedCommand, KeepGroups, Outcome, sweep, tick, trim_to};

use crate::bench::{Bench, publish, receive};

/// Messages that a group may hold of one queue, and of one topic.
const HELD_PER_QUEUE: u32 = 65_536;
const HELD_PER_TOPIC: u32 = 1 << 20;
const DAY_MS: u64 = 86_400_000;

pub(crate) fn run() {
    expiring(1_000_000);
    dead_letters(2_000_000);
    trim(160_000);
    idle_groups(100_000);
}

fn with_backlog(name: &str, count: u32, max_attempts: u16, then: impl FnOnce(&mut Bench)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut bench = Bench::new(folder.path());
    let group = bench.group("bench", max_attempts);
    let (queues, per_command) = (HELD_PER_TOPIC / HELD_PER_QUEUE, 256);
    let mut left = count / per_command * per_command;
    while left > 0 {
        let messages = left.min(HELD_PER_TOPIC);
        let topic = bench.topic(&format!("bench-{left}"), queues);
        bench.many((0..messages / per_command).map(|number| publish(topic, number % queues, per_command)));
        bench.longest = Duration::ZERO;
        bench.receive(topic, group, messages, 1000);
        println!("{name}: {messages} received in calls of 1,024 messages, the longest {:?}", bench.longest);
        left -= messages;
    }
    bench.now = UnixMillis(bench.now.0 + 60_000);
    bench.longest = Duration::ZERO;
    then(&mut bench);
}

/// Ticks until nothing is due.
fn ticks(bench: &mut Bench, name: &str) {
    let (mut ticks, begun) = (0, Instant::now());
    while ticks == 0 || bench.state.reader().next_due().is_some_and(|due| due <= bench.now) {
        bench.one(tick());
        ticks += 1;
    }
    println!("{name}: {ticks} ticks in {:?}, the longest {:?}", begun.elapsed(), bench.longest);
}

fn expiring(count: u32) {
    with_backlog("deliveries that expire", count, 16, |bench| ticks(bench, &format!("{count} deliveries expire")));
}

fn dead_letters(count: u32) {
    with_backlog("deliveries without attempts left", count, 1, |bench| {
        ticks(bench, &format!("{count} dead letters are due"));
        assert_eq!(bench.state.reader().counters().dead_lettered, u64::from(count / 256 * 256));
    });
}

fn trim(queues: u32) {
    const PER_TOPIC: u32 = 4000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut bench = Bench::new(folder.path());
    for number in 0..queues / PER_TOPIC {
        let topic = bench.topic(&format!("bench-{number}"), PER_TOPIC);
        bench.many((0..PER_TOPIC).map(|queue| publish(topic, queue, 2)));
    }
    bench.longest = Duration::ZERO;
    let (end, begun) = (LogIndex(bench.next), Instant::now());
    bench.one(trim_to(end));
    let (trimmed, mut sweeps) = (bench.longest, 0);
    while matches!(bench.one(sweep()), Outcome::Swept { more: true }) {
        sweeps += 1;
    }
    println!(
        "a trim over {queues} queues: {trimmed:?}; {sweeps} sweeps in {:?}, the longest {:?}",
        begun.elapsed(),
        bench.longest
    );
}

fn idle_groups(count: u32) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut bench = Bench::new(folder.path());
    let topic = bench.topic("bench", 16);
    let create = |number: u32| {
        let name = GroupName::parse(&format!("bench-{number}")).expect("legal");
        CreateGroup { name, settings: GroupSettings::default(), automatic: true }.encode()
    };
    let made = bench.many((0..count).map(create));
    let groups: Vec<_> = made
        .iter()
        .map(|made| match made {
            Outcome::Group(made) => made.id().expect("there is room"),
            other => panic!("a creation was answered by {other:?}"),
        })
        .collect();
    bench.many(groups.iter().map(|group| receive(topic, *group, 1, 1000).encode()));
    bench.longest = Duration::ZERO;
    bench.many((0..1000).map(|number| publish(topic, number % 16, 16)));
    println!("publishing to a topic of {count} idle groups: the longest {:?}", bench.longest);
    bench.longest = Duration::ZERO;
    let begun = Instant::now();
    let keep: EncodedCommand = KeepGroups { polled: Vec::new(), unused_ms: DAY_MS, idle_ms: 3 * DAY_MS }.encode();
    let (mut steps, mut deleted) = (0, 0);
    while deleted < count {
        // Each command counts no more than some minutes, however far the clock went.
        bench.now = UnixMillis(bench.now.0 + 120_000);
        let Outcome::GroupsKept { deleted: now } = bench.one(keep.clone()) else { panic!("groups are kept") };
        (steps, deleted) = (steps + 1, deleted + now);
    }
    println!("{count} idle groups go: {steps} steps in {:?}, the longest {:?}", begun.elapsed(), bench.longest);
}
