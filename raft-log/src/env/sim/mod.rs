//! The deterministic twin of the machine: a disk that forgets what was not synced, a clock that a test moves, and
//! randomness from a seed.
//!
//! It is compiled into the library, not only into its tests, so that other crates can simulate whole nodes.

mod bad_blocks;
mod clock;
mod disk;
mod faults;
mod file;
mod image;
mod rng;
mod session;
mod state;
mod step;

pub use clock::ManualClock;
pub use disk::{Crash, SimDisk};
pub use faults::{Fault, FaultKind};
pub use rng::SeededRng;

use super::Env;
use std::sync::Arc;

/// A simulated machine: the handles that a test keeps.
#[derive(Clone, Debug)]
pub struct SimEnv {
    /// The disk.
    pub disk: Arc<SimDisk>,
    /// The clock.
    pub clock: Arc<ManualClock>,
    /// The randomness.
    pub rng: Arc<SeededRng>,
}

impl SimEnv {
    /// An empty machine; `seed` decides everything that is random on it.
    #[must_use]
    pub fn new(seed: u64) -> SimEnv {
        SimEnv {
            disk: Arc::new(SimDisk::new()),
            clock: Arc::new(ManualClock::new()),
            rng: Arc::new(SeededRng::new(seed)),
        }
    }

    /// What the code under test gets.
    #[must_use]
    pub fn env(&self) -> Env {
        Env { disk: self.disk.clone(), clock: self.clock.clone(), rng: self.rng.clone() }
    }
}

#[cfg(test)]
mod tests;
