//! What one run found.

use serde::{Deserialize, Serialize};

/// The figures of one run, named as `tercet bench -o json` names them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Messages a second.
    pub rate: f64,
    /// 10^6 bytes of bodies a second.
    pub mb_per_s: f64,
    /// Half of the latencies are at most this, in microseconds.
    pub p50_us: u64,
    /// The same for 99 of 100.
    pub p99_us: u64,
    /// The same for 999 of 1000.
    pub p999_us: u64,
    /// The longest latency, in microseconds.
    pub max_us: u64,
    /// Messages that were not stored.
    pub failed: u64,
}

/// The middle of `values`; of an even number the greater of the two middle ones.
///
/// # Panics
/// If there are none, or one is not a number.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_unstable_by(|left, right| left.partial_cmp(right).expect("a measurement is a number"));
    *sorted.get(sorted.len() / 2).expect("a median needs a value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
