//! Randomness from a seed: the same seed, the same numbers.

use crate::env::Rng;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The step of SplitMix64 (Steele, Lea and Flood, 2014), whose mixing function is used as well.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A seeded generator. Good enough to decide a simulation; not for secrets.
#[derive(Debug)]
pub struct SeededRng {
    state: AtomicU64,
}

impl SeededRng {
    /// A generator that begins with `seed`.
    #[must_use]
    pub fn new(seed: u64) -> SeededRng {
        SeededRng { state: AtomicU64::new(seed) }
    }

    /// A number below `limit`, which is not 0. Not perfectly even, which no simulation notices.
    pub fn below(&self, limit: u64) -> u64 {
        assert!(limit > 0, "no number is below 0");
        self.next_u64() % limit
    }

    /// True in about `percent` of 100 calls.
    pub fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Rng for SeededRng {
    fn next_u64(&self) -> u64 {
        let mut mixed = self.state.fetch_add(STEP, Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
