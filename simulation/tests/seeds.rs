//! What every `make test` runs of the simulation.
#![cfg(tercet_sim)]

use simulation::many::many;
use simulation::report::{counts, replay};
use simulation::run::run;

/// Fresh seeds in every test run; `make sim-many` runs more.
const FRESH: u64 = 150;

#[test]
fn a_seed_decides_everything() {
    for seed in [1, 2, 3, 4, 5] {
        let (first, again) = (run(seed), run(seed));
        assert_eq!(first, again, "{}", replay(seed));
    }
    assert_ne!(run(1).figures.trace, run(2).figures.trace);
}

#[test]
fn seeds_that_failed_once_pass() {
    for line in include_str!("../failed-seeds.txt").lines() {
        let seed = line.split('#').next().unwrap_or_default().trim();
        if !seed.is_empty() {
            let seed = seed.parse().unwrap();
            assert_eq!(run(seed).violation, None, "{}", replay(seed));
        }
    }
}

#[test]
fn fresh_seeds_pass_and_their_faults_bite() {
    let mut biting = 0;
    many(1_000_000, FRESH, |seed, report| {
        assert_eq!(report.violation, None, "{}", replay(seed));
        biting += u64::from(counts(&report.figures));
        true
    });
    assert!(biting >= FRESH * 9 / 10, "{biting} of {FRESH} runs had faults that took effect");
}
