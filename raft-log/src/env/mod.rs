//! The only door to files, clocks and randomness.
//!
//! Everything in this crate that touches the outside world does so through an [`Env`]: three trait objects, passed in
//! by the composition root. [`Env::real`] is the machine; [`sim`] is its deterministic twin, whose disk loses what was
//! not synced, tears writes, flips bits, loses sectors, fills up and fails, and whose clock and randomness a test decides.
//!
//! It is not a virtual file system: it offers what a log needs and nothing else. Network and tasks are not here.

mod clock;
mod disk;
mod real;
mod resting;
mod rng;
pub mod sim;

pub use clock::Clock;
pub(crate) use disk::media_error;
pub use disk::{BLOCK_BYTES, Disk, DiskLock, File, FileIdentity, OpenMode, is_media_error};
pub use rng::Rng;

use std::sync::Arc;

/// Disk, clock and randomness of one node. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Files and directories.
    pub disk: Arc<dyn Disk>,
    /// Wall and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Random numbers: salts, identities, jitter.
    pub rng: Arc<dyn Rng>,
}

impl Env {
    /// The machine itself.
    #[must_use]
    pub fn real() -> Env {
        Env { disk: Arc::new(real::RealDisk), clock: Arc::new(clock::RealClock::new()), rng: Arc::new(rng::ThreadRng) }
    }

    /// The machine, of whose files at most `open_max` are open at a time, however many are held; more only while that many
    /// have writes which are not synced.
    #[must_use]
    pub fn real_within(open_max: usize) -> Env {
        let real = Env::real();
        Env { disk: Arc::new(resting::RestingDisk::new(real.disk, open_max)), ..real }
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}
