//! Randomness: salts, identities, jitter.

use rand::RngExt as _;

/// A source of random numbers. The simulated one is decided by a seed.
pub trait Rng: Send + Sync + 'static {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;

    /// The next 128 random bits.
    fn next_u128(&self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }
}

/// The machine's cryptographic generator, seeded by the operating system.
#[derive(Debug)]
pub(super) struct ThreadRng;

impl Rng for ThreadRng {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that draws real randomness")]
    fn next_u64(&self) -> u64 {
        rand::rng().random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_randomness_does_not_repeat() {
        assert_ne!(ThreadRng.next_u128(), ThreadRng.next_u128());
    }
}
