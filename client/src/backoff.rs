//! How long to wait before the next attempt: pure arithmetic.

use std::time::Duration;

/// The wait before the second attempt; each further wait doubles it.
const FIRST: Duration = Duration::from_millis(10);
/// No wait is longer: a new leader is there within a second or two, and each wait is lost time then.
const LONGEST: Duration = Duration::from_millis(200);

/// The same where a node has too much to do: it reads each request before it refuses it, so to ask again soon is more load.
const FIRST_OVERLOADED: Duration = Duration::from_millis(100);
const LONGEST_OVERLOADED: Duration = Duration::from_secs(2);

/// The wait after `failures` failed attempts in a row (1 or more): 10 ms doubling to 200 ms, of which `jitter`
/// (`0.0..1.0`) takes away up to half, so that clients do not return in step.
pub(crate) fn delay(failures: u32, jitter: f64) -> Duration {
    doubling(FIRST, LONGEST, failures, jitter)
}

/// The wait after `failures` refusals in a row by a node that has too much to do: 100 ms doubling to 2 s, with the same jitter.
pub(crate) fn delay_overloaded(failures: u32, jitter: f64) -> Duration {
    doubling(FIRST_OVERLOADED, LONGEST_OVERLOADED, failures, jitter)
}

fn doubling(first: Duration, longest: Duration, failures: u32, jitter: f64) -> Duration {
    assert!(failures >= 1, "a wait follows a failure");
    assert!((0.0..1.0).contains(&jitter), "jitter is a fraction");
    let doubled = first.saturating_mul(1 << (failures - 1).min(10));
    doubled.min(longest).mul_f64(1.0 - jitter / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound() {
        let waits: Vec<_> = (1..8).map(|failures| delay(failures, 0.0).as_millis()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 200, 200]);
        assert_eq!(delay(u32::MAX, 0.0), LONGEST);
        let waits: Vec<_> = (1..8).map(|failures| delay_overloaded(failures, 0.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000]);
    }

    #[test]
    fn jitter_takes_away_at_most_half() {
        assert_eq!(delay(3, 0.5), Duration::from_millis(30));
        assert!(delay(3, 0.999) > Duration::from_millis(20));
    }
}
