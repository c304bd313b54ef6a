//! What a benchmark found.

use std::{io, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::{args::Format, notices::notice, output};

/// Longest latency that is told from longer ones: an hour, in microseconds.
const LONGEST_US: u64 = 3_600_000_000;

/// Collects latencies and failures of one producer or consumer.
#[derive(Debug, Clone)]
pub(super) struct Recorder {
    latencies_us: Histogram<u64>,
    failed: u64,
    first_failure: Option<String>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        let latencies_us = Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are legal");
        Self { latencies_us, failed: 0, first_failure: None }
    }

    pub(super) fn succeeded(&mut self, latency: Duration) {
        self.latencies_us.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US).max(1));
    }

    pub(super) fn failed(&mut self, why: impl FnOnce() -> String) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(why);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.latencies_us.add(&other.latencies_us).expect("both have the same bounds");
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or_else(|| other.first_failure.clone());
    }

    /// The figures of a run whose messages all had bodies of `size` bytes.
    pub(super) fn report_of_messages(&self, size: u64, elapsed: Duration) -> Report {
        self.report(self.latencies_us.len() * size, elapsed)
    }

    /// The figures of a run in which `bytes` were moved within `elapsed`.
    pub(super) fn report(&self, bytes: u64, elapsed: Duration) -> Report {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let at = |quantile| self.latencies_us.value_at_quantile(quantile);
        Report {
            rate: (self.latencies_us.len() as f64 / seconds * 10.0).round() / 10.0,
            mb_per_s: (bytes as f64 / 1e6 / seconds * 100.0).round() / 100.0,
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.latencies_us.max(),
            failed: self.failed,
            first_failure: self.first_failure.clone(),
        }
    }
}

/// Messages a second, 10^6 bytes of bodies a second, latencies in microseconds.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    rate: f64,
    mb_per_s: f64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    pub(super) failed: u64,
    #[serde(skip)]
    first_failure: Option<String>,
}

impl Report {
    pub(super) fn print(&self, format: Format) -> io::Result<()> {
        if let Some(failure) = &self.first_failure {
            notice(format!("first failure: {failure}"));
        }
        let ms = |us: u64| format!("{:.3} ms", us as f64 / 1000.0);
        let row = [
            format!("{:.0}/s", self.rate),
            format!("{:.1} MB/s", self.mb_per_s),
            ms(self.p50_us),
            ms(self.p99_us),
            ms(self.p999_us),
            ms(self.max_us),
            self.failed.to_string(),
        ];
        output::print(format, ["RATE", "BODIES", "P50", "P99", "P99.9", "MAX", "FAILED"], [row], self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_exactly_the_documented_fields() {
        let mut recorder = Recorder::new();
        recorder.succeeded(Duration::from_millis(2));
        let mut other = Recorder::new();
        other.failed(|| "why".to_owned());
        recorder.add(&other);
        let json = serde_json::to_value(recorder.report(1_000_000, Duration::from_secs(2))).unwrap();
        let fields: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        assert_eq!(fields.len(), 7);
        assert_eq!((json["rate"].as_f64(), json["mb_per_s"].as_f64()), (Some(0.5), Some(0.5)));
        assert_eq!(json["failed"], 1);
        assert!((1990..=2010).contains(&json["p50_us"].as_u64().unwrap()));
        for field in ["p99_us", "p999_us", "max_us"] {
            assert!(fields.iter().any(|name| name == field));
        }
    }
}
