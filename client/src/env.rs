//! The one door to the wall clock and to randomness.
//!
//! Everything else in the crate (but the host name) takes times and random numbers as arguments, so that tests decide them. Durations are
//! measured with tokio's clock, which tests can pause; the wall clock only stamps messages and their ids.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::RngExt as _;

/// Time since 1970-01-01 UTC; zero if the machine's clock stands before that.
#[expect(clippy::disallowed_methods, reason = "this is the door through which the wall clock enters")]
pub(crate) fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Random bytes from a generator that the operating system seeded.
#[expect(clippy::disallowed_methods, reason = "this is the door through which randomness enters")]
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    rand::rng().random::<[u8; N]>()
}

/// A random fraction in `0.0..1.0`, for jitter.
#[expect(clippy::disallowed_methods, reason = "this is the door through which randomness enters")]
pub(crate) fn random_fraction() -> f64 {
    rand::rng().random::<f64>()
}

/// The name of this machine as messages carry it; `localhost` if it cannot be read.
pub(crate) fn host_name() -> String {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    let name = name.unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}
