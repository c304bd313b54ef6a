//! A full disk (hazards 9): it is told early, no append ever fails for want of space, and the log goes on by itself.

use crate::support::*;
use raft_log::env::Disk as _;
use raft_log::env::sim::SimEnv;
use raft_log::storage::{Log, Room, StorageOptions};
use raft_log::types::LogIndex;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const SEGMENT: u64 = 16 << 10;
const RESERVE: u64 = 16 << 10;

/// A log with threads on a simulated disk.
fn open(sim: &SimEnv) -> Log {
    let options = StorageOptions { reserve_bytes: RESERVE, ..options() };
    Log::open(sim.env(), options).unwrap().0
}

fn used(sim: &SimEnv) -> u64 {
    (1 << 40) - sim.disk.free_bytes(Path::new(DIR)).unwrap()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

struct Appender {
    log: Log,
    next: u64,
    sender: mpsc::Sender<bool>,
    answers: mpsc::Receiver<bool>,
}

impl Appender {
    fn new(log: Log) -> Appender {
        let (sender, answers) = mpsc::channel();
        let appender = Appender { log, next: 0, sender, answers };
        appender.log.save_hard_state(voted(1), appender.done()).unwrap();
        assert!(appender.answers.recv_timeout(PATIENCE).unwrap());
        appender
    }

    fn done(&self) -> raft_log::storage::Done {
        let sender = self.sender.clone();
        Box::new(move |result| sender.send(result.is_ok()).unwrap())
    }

    fn queue(&mut self) {
        self.log.append(vec![record(1, self.next, 1_000)], self.done()).unwrap();
        self.next += 1;
    }

    fn append(&mut self) {
        self.queue();
        assert!(self.answers.recv_timeout(PATIENCE).unwrap());
    }

    fn room(&self) -> Room {
        *self.log.room().borrow()
    }
}

#[test]
fn the_log_tells_that_room_is_low_goes_on_in_what_is_allocated_and_then_waits() {
    let sim = SimEnv::new(1);
    let mut appender = Appender::new(open(&sim));
    appender.append();
    eventually("a prepared segment", || appender.log.stats().allocated_bytes > SEGMENT);
    assert_eq!(appender.room(), Room::Enough);

    // Somebody else fills the disk up to the reserve.
    sim.disk.set_capacity_bytes(Some(used(&sim) + RESERVE - 1));
    eventually("low", || appender.room() == Room::Low);
    let allocated = appender.log.stats().allocated_bytes;
    while appender.log.stats().allocated_bytes >= 1_200 {
        appender.append();
    }
    assert!(appender.next * 1_056 > allocated - 4_096 - 2_400, "all of it was usable: {} entries", appender.next);

    // Now not even a small entry has a place. It waits, and nothing fails.
    (0..3).for_each(|_| appender.queue());
    let waited = appender.answers.recv_timeout(Duration::from_millis(300));
    let answered = usize::from(waited.is_ok());
    assert!(appender.log.failure().borrow().is_none());

    sim.disk.set_capacity_bytes(None);
    for _ in answered..3 {
        assert!(appender.answers.recv_timeout(PATIENCE).unwrap(), "it goes on by itself");
    }
    eventually("room again", || appender.room() == Room::Enough);
    let expected = records(1, 0..appender.next, 1_000);
    assert_eq!(appender.log.read(LogIndex(0), LogIndex(u64::MAX), usize::MAX).unwrap(), expected);
    appender.log.shutdown();
    let reopened = open(&sim);
    assert_eq!(reopened.read(LogIndex(0), LogIndex(u64::MAX), usize::MAX).unwrap(), expected);
}

#[test]
fn room_is_low_before_the_last_segment_is_full_although_the_reserve_is_free() {
    let sim = SimEnv::new(1);
    let mut appender = Appender::new(open(&sim));
    appender.append();
    eventually("a prepared segment", || appender.log.stats().allocated_bytes > SEGMENT);
    // The reserve is free and more than that, but not another segment beside it.
    sim.disk.set_capacity_bytes(Some(used(&sim) + RESERVE + SEGMENT / 2));
    while appender.log.stats().allocated_bytes >= SEGMENT / 8 {
        appender.append();
    }
    eventually("low", || appender.room() == Room::Low);
    assert!(appender.log.stats().allocated_bytes > 1_200, "there is still place for what is small");
}

#[test]
fn a_log_that_waits_for_space_can_be_shut_down() {
    let sim = SimEnv::new(1);
    let mut appender = Appender::new(open(&sim));
    appender.append();
    sim.disk.set_capacity_bytes(Some(used(&sim)));
    (0..60).for_each(|_| appender.queue());
    eventually("low", || appender.room() == Room::Low);
    appender.log.shutdown();
    assert!(appender.answers.try_iter().take_while(|ok| *ok).count() < 60);
    sim.disk.set_capacity_bytes(None);
    let reopened = open(&sim);
    let last = reopened.bounds().last.unwrap().index.0;
    assert_eq!(reopened.read(LogIndex(0), LogIndex(u64::MAX), usize::MAX).unwrap(), records(1, 0..last + 1, 1_000));
}
