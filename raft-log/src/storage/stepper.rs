//! Drives a log without threads, one step at a time: for simulations, where a seed decides what happens when.

use super::io::Engine;
use super::shared::Shared;
use std::collections::VecDeque;
use std::sync::Arc;

/// The writing side of a log that was opened by [`crate::storage::Log::open_stepped`].
pub struct Stepper {
    shared: Arc<Shared>,
    engine: Engine,
}

impl Stepper {
    pub(super) fn new(shared: Arc<Shared>, engine: Engine) -> Stepper {
        Stepper { shared, engine }
    }

    /// Does everything that is queued, appends grouped as the I/O thread would; says how many calls that were.
    pub fn step(&mut self) -> usize {
        let mut jobs = VecDeque::new();
        self.shared.queue.take(&mut jobs);
        let count = jobs.len();
        self.engine.run(&mut jobs);
        count
    }

    /// What happens when nothing was queued for a while: the durable mark is written.
    pub fn idle(&mut self) {
        self.engine.idle();
    }

    /// What the background sync of `async` durability does.
    pub fn sync(&mut self) {
        self.engine.sync();
    }
}

impl std::fmt::Debug for Stepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stepper")
    }
}
