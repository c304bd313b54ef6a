//! What every `make test` runs, and what `make broker-sim` asks for.

use super::report::{Figures, replay};
use super::seed::run;
use crate::state::planted::{Bug, plant};

/// Seeds by which each planted bug is found.
const SEEDS_TO_FIND_MAX: u64 = 20;
/// Seeds of every test run.
const SEEDS: u64 = 30;
/// Seeds that found something: an old delivery had never its turn while younger bodies were moved again and again.
const FAILED_ONCE: [u64; 2] = [3009, 3031];

fn passes(seed: u64) -> Figures {
    let (figures, violation) = run(seed);
    assert_eq!(violation, None, "{}", replay(seed));
    figures
}

#[test]
fn a_seed_decides_everything() {
    assert_eq!(run(1), run(1), "{}", replay(1));
    assert_ne!(run(1).0.digest, run(2).0.digest);
}

#[test]
fn seeds_pass_and_all_that_can_happen_does() {
    let mut sum = Figures::default();
    (1..=SEEDS).chain(FAILED_ONCE).for_each(|seed| sum.add_all(&passes(seed)));
    assert!(sum.missing().is_empty(), "{:?} never happened: {sum:?}", sum.missing());
}

/// Who may find a rule that is undone. What the state asserts of itself does not count: it says nothing of the checkers.
fn found_by(bug: Bug) -> &'static [&'static str] {
    match bug {
        Bug::CountStays | Bug::NeededIgnored | Bug::StaleMove => &["start"],
        Bug::SweepTooFar => &["nothing lost"],
        Bug::OldHandleCounts => &["settled"],
        Bug::LeaseEndsNothing => &["nothing lost", "settled", "liveness"],
        Bug::LateForgotten => &["replicas agree"],
        Bug::TailStays => &["pending kept", "nothing lost"],
        Bug::OrderIgnored => &["message order"],
        Bug::RepeatStored => &["stored once", "refusals"],
        Bug::AttemptStays => &["attempts"],
        Bug::LeaseStays | Bug::LeaseNotExtended => &["pending kept", "settled", "attempts", "nothing lost"],
    }
}

/// What it cannot find when it is there, proves nothing when it finds nothing.
#[test]
fn each_rule_that_is_undone_is_missed_by_who_should_miss_it() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        plant(Some(bug));
        let mut found = (1..=SEEDS_TO_FIND_MAX).filter_map(|seed| Some((seed, run(seed).1?)));
        let first = found.find(|(_, violation)| violation.checker != "assertions");
        plant(None);
        println!("{bug:?}: {first:?}");
        if first.is_none_or(|(_, violation)| !found_by(bug).contains(&violation.checker)) {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "{missed:?} are not found by who should, by {SEEDS_TO_FIND_MAX} seeds");
}

/// `make broker-sim SEED=n N=count`.
#[test]
#[ignore = "runs the seeds that it is asked for"]
fn asked_for() {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (from, count): (u64, u64) = (number("BROKER_SIM_SEED", 1), number("BROKER_SIM_N", 1));
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let share = |first| {
            scope.spawn(move || {
                (first..from + count).step_by(threads as usize).filter(|seed| fails(*seed)).collect::<Vec<_>>()
            })
        };
        let running: Vec<_> = (from..from + threads).map(share).collect();
        running.into_iter().flat_map(|share| share.join().expect("a run catches its panics")).collect()
    });
    assert!(failed.is_empty(), "{} of {count} seeds failed: {failed:?}", failed.len());
}

/// The name of a test that is not there runs nothing, in silence.
#[test]
fn the_command_names_the_test_that_it_runs() {
    let module = module_path!().split_once("::").expect("a module of the crate").1;
    let name = std::any::type_name_of_val(&asked_for).rsplit("::").next().expect("a name");
    let makefile = include_str!("../../../Makefile");
    assert!(makefile.contains(&format!("--ignored --exact {module}::{name} ")), "{module}::{name}");
}

/// Runs a seed and says what came of it.
fn fails(seed: u64) -> bool {
    let (figures, violation) = run(seed);
    match &violation {
        Some(violation) => println!("{}   # {}: {}", replay(seed), violation.checker, violation.what),
        None => println!("{}   # {figures:?}", replay(seed)),
    }
    violation.is_some()
}
