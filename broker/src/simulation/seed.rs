//! A seed from empty stores to the comparison of all replicas.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::checkers::Violation;
use super::ending;
use super::faults;
use super::report::Figures;
use super::run::Run;
use crate::state::planted::small_ticks;

const IN_MEMORY: &str = "/dev/shm";
/// What came of a seed: what it did, and the promise that it broke.
pub(super) fn run(seed: u64) -> (Figures, Option<Violation>) {
    // In memory where that is possible: what survives a crash, flushes decide, and the disk has no say.
    let folder = tempfile::tempdir_in(IN_MEMORY).or_else(|_| tempfile::tempdir()).expect("a folder for the run");
    let mut run = Run::new(seed, folder.path());
    small_ticks(run.settings.small_ticks);
    let end = catch_unwind(AssertUnwindSafe(|| go(&mut run)));
    let violation = match end {
        Ok(end) => end.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| String::from(*text)));
            Some(Violation::new("assertions", text.unwrap_or_default()))
        }
    };
    small_ticks(false);
    (run.group.figures, violation)
}

fn go(run: &mut Run) -> Result<(), Violation> {
    for _ in 0..run.settings.steps {
        run.step()?;
        if run.dice.next() % 1000 < run.settings.faults {
            faults::strike(run);
        }
    }
    run.ending = true;
    ending::end(run)
}
