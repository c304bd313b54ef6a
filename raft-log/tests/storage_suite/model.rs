//! Random calls, crashes and faults against a model that is a vector (proptest; a failure prints the shrunk calls).

use crate::support::*;
use proptest::prelude::*;
use raft_log::env::sim::{Crash, SimEnv};
use raft_log::storage::{Record, StorageOptions};
use raft_log::types::LogIndex;

/// One random call.
#[derive(Clone, Debug)]
enum Call {
    /// Queue an append of records of these payload lengths, in a term this much higher.
    Append { lengths: Vec<usize>, terms_later: u64 },
    /// Queue a truncation of this many entries from the end.
    Truncate { entries: usize },
    /// Queue a purge to this part (in percent) of what may be purged.
    Purge { percent: usize },
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
        2 => (0_usize..12).prop_map(|entries| Call::Truncate { entries }),
        1 => (0_usize..100).prop_map(|percent| Call::Purge { percent }),
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
    log: Vec<Record>,
    /// Entries that are acknowledged and that no truncation since was asked to remove.
    acknowledged: usize,
    /// Every log that the disk may hold a prefix of: the present one, and those before unanswered truncations.
    histories: Vec<Vec<Record>>,
    term: u64,
    voted: u64,
    /// The term of the last hard state that was queued.
    vote_queued: u64,
    purged: usize,
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
    Appended { entries: usize },
    Truncated { kept: usize },
    Voted { term: u64 },
    Purged,
}

impl Run {
    fn new(options: &StorageOptions) -> Run {
        let node = Node::open(SimEnv::new(3), options.clone()).unwrap();
        let model = Model {
            log: Vec::new(),
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
        let from = self.model.log.len() as u64;
        let term = self.model.term;
        let records: Vec<Record> =
            lengths.iter().zip(from..).map(|(length, index)| record(term, index, *length)).collect();
        self.node().queue(records.clone());
        self.model.log.extend(records);
        self.queued.push(Answer::Appended { entries: self.model.log.len() });
    }

    fn truncate(&mut self, entries: usize) {
        let kept = self.model.log.len().saturating_sub(entries).max(self.model.purged);
        let keep = kept.checked_sub(1).map(|index| LogIndex(index as u64));
        let node = self.node();
        node.log.truncate_after(keep, node.done()).unwrap();
        self.model.histories.push(self.model.log.clone());
        self.model.log.truncate(kept);
        self.model.acknowledged = self.model.acknowledged.min(kept);
        self.queued.push(Answer::Truncated { kept });
    }

    fn purge(&mut self, percent: usize) {
        let entries = self.model.log.len() * percent / 100;
        if entries > self.model.purged {
            let id = self.model.log[entries - 1].id;
            let node = self.node();
            node.log.purge_to(id, node.done()).unwrap();
            // From now on nobody truncates below, answered or not.
            self.model.purged = entries;
            self.queued.push(Answer::Purged);
        }
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
                Answer::Appended { entries } => {
                    let later = answers[at..].iter().filter_map(|later| match later {
                        Answer::Truncated { kept } => Some(*kept),
                        _ => None,
                    });
                    let entries = later.fold(entries, usize::min);
                    self.model.acknowledged = self.model.acknowledged.max(entries);
                }
                Answer::Voted { term } => self.model.voted = term,
                Answer::Truncated { .. } | Answer::Purged => {}
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
        let all = node.all();
        let model = &mut self.model;
        assert!(all.len() >= model.acknowledged, "{} of {} acknowledged entries", all.len(), model.acknowledged);
        let known = model.histories.iter().chain([&model.log]).any(|log| log.starts_with(&all));
        assert!(known, "the log after the crash is no prefix of any that there was");
        let saved = node.log.hard_state().map_or(0, |state| state.term.0);
        assert!(saved >= model.voted && saved <= model.term);
        let purged = node.log.bounds().purged.map_or(0, |id| usize::try_from(id.index.0).unwrap() + 1);
        assert!(purged <= model.purged);
        model.purged = purged;
        model.acknowledged = all.len();
        model.voted = saved;
        model.vote_queued = saved;
        model.log = all;
        model.histories.clear();
        self.queued.clear();
        self.node = Some(node);
    }

    /// What readers see is the model, whatever is queued.
    fn check_reads(&mut self) {
        let expected = self.model.log.clone();
        let node = self.node();
        assert_eq!(node.all(), expected);
        let middle = expected.len() as u64 / 2;
        let some = node.log.read(LogIndex(middle), LogIndex(middle + 3), 2_000).unwrap();
        let from = usize::try_from(middle).unwrap();
        assert!(expected[from..].starts_with(&some) && (some.len() <= 3));
        assert!(!some.is_empty() || expected.is_empty());
        let last = node.last().map(|id| id.index);
        assert_eq!(last, expected.last().map(|record| record.id.index));
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
        run(&StorageOptions { cache_bytes_max: 6_000, batch_bytes_max: 3_000, ..options() }, calls);
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
