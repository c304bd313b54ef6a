//! Random calls, crashes and faults against a model that is a vector (proptest; a failure prints the shrunk calls).

use crate::support::*;
use proptest::prelude::*;
use raft_log::env::sim::{Crash, SimEnv};
use raft_log::storage::{Record, Sizes, StorageOptions};
use raft_log::types::LogIndex;

/// One random call.
#[derive(Clone, Debug)]
enum Call {
    /// Queue an append of records of these payload lengths, in a term this much higher.
    Append { lengths: Vec<usize>, terms_later: u64 },
    /// Queue a truncation of this many entries from the end.
    Truncate { entries: u64 },
    /// Queue a purge to this part (in percent) of what may be purged.
    Purge { percent: usize },
    /// Queue a release of this part (in percent) of what is purged.
    Release { percent: usize },
    /// Queue a new begin this far behind the end.
    BeginAfter { entries: u64 },
    /// Queue a hard state of the present term.
    Vote,
    /// Let the writing side do what is queued.
    Step,
    /// Nothing happens for a while.
    Idle,
    /// The power goes off now.
    Crash(CrashKind),
    /// The power goes off in the middle of the next steps.
    CrashSoon { changes: u64, kind: CrashKind },
}

#[derive(Clone, Copy, Debug)]
enum CrashKind {
    LoseUnsynced,
    KeepAll,
    Torn(u64),
}

fn call() -> impl Strategy<Value = Call> {
    let crash =
        prop_oneof![Just(CrashKind::LoseUnsynced), Just(CrashKind::KeepAll), any::<u64>().prop_map(CrashKind::Torn)];
    let lengths = prop::collection::vec(prop_oneof![0_usize..40, 100_usize..2_000, Just(8 << 10)], 1..6);
    prop_oneof![
        6 => (lengths, 0_u64..2).prop_map(|(lengths, terms_later)| Call::Append { lengths, terms_later }),
        2 => (0_u64..12).prop_map(|entries| Call::Truncate { entries }),
        2 => (0_usize..101).prop_map(|percent| Call::Purge { percent }),
        2 => (50_usize..101).prop_map(|percent| Call::Release { percent }),
        1 => (0_u64..9).prop_map(|entries| Call::BeginAfter { entries }),
        1 => Just(Call::Vote),
        4 => Just(Call::Step),
        1 => Just(Call::Idle),
        1 => crash.clone().prop_map(Call::Crash),
        1 => (0_u64..12, crash).prop_map(|(changes, kind)| Call::CrashSoon { changes, kind }),
    ]
}

/// What must be true.
struct Model {
    /// The log in memory.
    log: History,
    /// Entries below this are acknowledged, and no truncation since was asked to remove them.
    acknowledged: u64,
    /// Every log that the disk may hold a part of: the present one, and those before unanswered truncations and begins.
    histories: Vec<History>,
    term: u64,
    voted: u64,
    /// The term of the last hard state that was queued.
    vote_queued: u64,
    /// Entries below this are purged.
    purged: u64,
}

/// A log from some index on.
#[derive(Clone)]
struct History {
    start: u64,
    records: Vec<Record>,
}

impl History {
    fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }

    fn from(&self, index: u64) -> &[Record] {
        &self.records[usize::try_from(index - self.start).unwrap()..]
    }

    fn truncate(&mut self, end: u64) {
        self.records.truncate(usize::try_from(end - self.start).unwrap());
    }

    /// Whether a log that has these records from `first` on may be what is left of this one.
    fn covers(&self, first: u64, found: &[Record]) -> bool {
        first >= self.start && first <= self.end() && self.from(first).starts_with(found)
    }
}

struct Run {
    node: Option<Node>,
    model: Model,
    /// For each queued call, what its answer means.
    queued: Vec<Answer>,
    power_off: Option<CrashKind>,
}

#[derive(Clone, Copy)]
enum Answer {
    Appended { end: u64 },
    Truncated { end: u64 },
    Begun { start: u64 },
    Voted { term: u64 },
    Other,
}

impl Run {
    fn new(options: &StorageOptions) -> Run {
        let node = Node::open(SimEnv::new(3), options.clone()).unwrap();
        let model = Model {
            log: History { start: 0, records: Vec::new() },
            acknowledged: 0,
            histories: Vec::new(),
            term: 0,
            voted: 0,
            vote_queued: 0,
            purged: 0,
        };
        Run { node: Some(node), model, queued: Vec::new(), power_off: None }
    }

    fn node(&mut self) -> &mut Node {
        self.node.as_mut().expect("a node between crashes")
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Append { lengths, terms_later } => self.append(&lengths, terms_later),
            Call::Truncate { entries } => self.truncate(entries),
            Call::Purge { percent } => self.purge(percent),
            Call::Release { percent } => self.release(percent),
            Call::BeginAfter { entries } => self.begin_after(entries),
            Call::Vote => self.vote(),
            Call::Step => self.step(),
            Call::Idle => self.node().stepper.idle(),
            Call::Crash(kind) => self.crash(kind),
            Call::CrashSoon { changes, kind } => {
                self.node().sim.disk.power_off_after(changes);
                self.power_off = Some(kind);
                self.step();
            }
        }
        if let Some(kind) = self.power_off.take() {
            self.crash(kind);
        }
    }

    fn append(&mut self, lengths: &[usize], terms_later: u64) {
        self.model.term = (self.model.term + terms_later).max(1);
        if self.model.term > self.model.vote_queued {
            self.vote();
        }
        let from = self.model.log.end();
        let term = self.model.term;
        let records: Vec<Record> =
            lengths.iter().zip(from..).map(|(length, index)| record(term, index, *length)).collect();
        self.node().queue(records.clone());
        self.model.log.records.extend(records);
        self.queued.push(Answer::Appended { end: self.model.log.end() });
    }

    fn truncate(&mut self, entries: u64) {
        let end = self.model.log.end().saturating_sub(entries).max(self.model.purged);
        let keep = end.checked_sub(1).map(LogIndex);
        let node = self.node();
        node.log.truncate_after(keep, node.done()).unwrap();
        self.model.histories.push(self.model.log.clone());
        self.model.log.truncate(end);
        self.model.acknowledged = self.model.acknowledged.min(end);
        self.queued.push(Answer::Truncated { end });
    }

    fn purge(&mut self, percent: usize) {
        let log = &self.model.log;
        let end = log.start + (log.records.len() * percent / 100) as u64;
        if end > self.model.purged.max(self.node.as_ref().expect("a node").first()) {
            let id = log.from(end - 1)[0].id;
            let node = self.node();
            node.log.purge_to(id, node.done()).unwrap();
            // From now on nobody truncates below, answered or not.
            self.model.purged = end;
            self.queued.push(Answer::Other);
        }
    }

    fn release(&mut self, percent: usize) {
        let below = self.model.purged * percent as u64 / 100;
        let node = self.node();
        node.log.release_below(LogIndex(below), node.done()).unwrap();
        self.queued.push(Answer::Other);
    }

    fn begin_after(&mut self, entries: u64) {
        let index = self.model.log.end() + entries;
        let term = self.model.term.max(1);
        self.model.term = term;
        if term > self.model.vote_queued {
            self.vote();
        }
        let node = self.node();
        node.log.begin_after(id(term, index), node.done()).unwrap();
        let begun = History { start: index + 1, records: Vec::new() };
        self.model.histories.push(std::mem::replace(&mut self.model.log, begun));
        self.model.purged = index + 1;
        self.queued.push(Answer::Begun { start: index + 1 });
    }

    fn vote(&mut self) {
        let term = self.model.term;
        let node = self.node();
        node.log.save_hard_state(voted(term), node.done()).unwrap();
        self.model.vote_queued = term;
        self.queued.push(Answer::Voted { term });
    }

    fn step(&mut self) {
        self.node().stepper.step();
        let outcomes = std::mem::take(&mut *self.node().outcomes.lock().unwrap());
        assert_eq!(outcomes.len(), self.queued.len(), "each call is answered once");
        let oks = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
        assert!(outcomes[oks..].iter().all(Result::is_err), "nothing is acknowledged after a failure");
        let answers = std::mem::take(&mut self.queued);
        for (at, answer) in answers.iter().enumerate().take(oks) {
            match *answer {
                Answer::Appended { end } => {
                    let later = answers[at..].iter().filter_map(|later| match later {
                        Answer::Truncated { end } => Some(*end),
                        _ => None,
                    });
                    let end = later.fold(end, u64::min);
                    self.model.acknowledged = self.model.acknowledged.max(end);
                }
                Answer::Begun { start } => self.model.acknowledged = self.model.acknowledged.max(start),
                Answer::Voted { term } => self.model.voted = term,
                Answer::Truncated { .. } | Answer::Other => {}
            }
        }
        if oks == outcomes.len() {
            self.model.histories.clear();
        }
    }

    fn crash(&mut self, kind: CrashKind) {
        let node = self.node.take().expect("a node between crashes");
        let crash = match kind {
            CrashKind::LoseUnsynced => Crash::LoseUnsynced,
            CrashKind::KeepAll => Crash::KeepAll,
            CrashKind::Torn(seed) => Crash::Torn { seed },
        };
        let node = node.crash(crash).unwrap();
        let (first, all) = (node.first(), node.all());
        let model = &mut self.model;
        let found = History { start: first, records: all };
        assert!(found.end() >= model.acknowledged, "up to {} of {} acknowledged", found.end(), model.acknowledged);
        let known = model.histories.iter().chain([&model.log]).any(|log| log.covers(first, &found.records));
        assert!(known, "the log after the crash is no prefix of any that there was");
        let saved = node.log.hard_state().map_or(0, |state| state.term.0);
        assert!(saved >= model.voted && saved <= model.term);
        let purged = node.log.bounds().purged.map_or(0, |id| id.index.0 + 1);
        assert!(purged <= model.purged && purged >= first);
        model.purged = purged;
        model.acknowledged = found.end();
        model.voted = saved;
        model.vote_queued = saved;
        model.log = found;
        model.histories.clear();
        self.queued.clear();
        self.node = Some(node);
    }

    /// What readers see is the model, whatever is queued.
    fn check_reads(&mut self) {
        let model = self.model.log.clone();
        let node = self.node();
        // What is about to be released is still there, or not; what is about to begin anew is not there.
        let first = node.first().max(model.start);
        let expected = model.from(first);
        assert_eq!(node.read_from(first), expected);
        let middle = first + expected.len() as u64 / 2;
        let some = node.log.read(LogIndex(middle), LogIndex(middle + 3), 2_000).unwrap();
        assert!(model.from(middle).starts_with(&some) && (some.len() <= 3));
        assert!(!some.is_empty() || expected.is_empty());
        let last = node.last().map(|id| id.index);
        assert_eq!(last, model.end().checked_sub(1).map(LogIndex));
        assert!(node.log.durable().borrow().is_none_or(|durable| Some(durable) <= last));
    }
}

fn run(options: &StorageOptions, calls: Vec<Call>) {
    let mut run = Run::new(options);
    for call in calls {
        run.call(call);
        run.check_reads();
    }
    run.step();
    run.check_reads();
    run.crash(CrashKind::LoseUnsynced);
    run.check_reads();
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4_096, ..ProptestConfig::default() })]

    /// hazards 3, 4, 5
    #[test]
    fn any_calls_and_crashes_keep_what_was_told(calls in prop::collection::vec(call(), 1..60)) {
        run(&options(), calls);
    }

    #[test]
    fn any_calls_and_crashes_keep_what_was_told_with_a_cache(calls in prop::collection::vec(call(), 1..60)) {
        run(&StorageOptions { cache_bytes_max: 6_000, batch_bytes_max: 3_000, sizes: Sizes { index_every: 2_500, ..Sizes::default() }, ..options() }, calls);
    }

    /// A durable log with any one bit flipped anywhere opens with the same entries, or not at all.
    #[test]
    fn any_flipped_bit_is_detected_or_harmless(
        lengths in prop::collection::vec(prop_oneof![0_usize..40, 100_usize..3_000], 1..30),
        place in any::<prop::sample::Index>(),
        file in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut node = Node::new();
        for (index, length) in (0..).zip(&lengths) {
            node.append(vec![record(1, index, *length)]);
        }
        let expected = node.all();
        let disk = node.stop_marked();
        let bases: Vec<u64> = {
            use raft_log::env::Disk as _;
            let names = disk.list(&std::path::Path::new(DIR).join("log")).unwrap();
            names.iter().filter_map(|name| name.strip_suffix(".seg")?.parse().ok()).collect()
        };
        let path = segment(bases[file.index(bases.len())]);
        disk.flip_bit(&path, place.index(disk.content(&path).len()), bit);
        if let Ok(node) = open_copy(&disk, options()) {
            prop_assert_eq!(node.all(), expected);
        }
    }
}

/// What random calls once found.
mod found {
    use super::*;

    #[test]
    fn a_truncation_after_a_crash_within_a_roll_leaves_no_mark_above_it() {
        let append = |lengths: &[usize]| Call::Append { lengths: lengths.to_vec(), terms_later: 0 };
        run(
            &options(),
            vec![
                append(&[0, 0, 0, 8192, 0]),
                Call::Step,
                append(&[8192]),
                Call::Idle,
                Call::CrashSoon { changes: 6, kind: CrashKind::KeepAll },
                append(&[0, 0, 0, 0, 0]),
                Call::Truncate { entries: 6 },
            ],
        );
    }
}
