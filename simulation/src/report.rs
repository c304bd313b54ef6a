//! What is printed, and the sums over many runs.

use std::fmt;
use std::time::Duration;

use crate::faults::{Effects, Kind};
use crate::recovery::{Recoveries, Recovery};
use crate::run::{Figures, Report};

/// A run counts only if so many faults took effect and something was acknowledged between them.
pub const EFFECTS_MIN: u64 = 3;

/// How to run a seed again.
#[must_use]
pub fn replay(seed: u64) -> String {
    format!("make sim SEED={seed}")
}

/// Whether the run proves anything.
#[must_use]
pub fn counts(figures: &Figures) -> bool {
    figures.effects.values().sum::<u64>() >= EFFECTS_MIN && figures.acknowledged > 0
}

/// Sums over runs.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Runs that count.
    pub runs: u64,
    /// Runs whose faults did not bite.
    pub idle: u64,
    /// Seeds that broke a promise, and which.
    pub failed: Vec<(u64, String)>,
    figures: Figures,
    effects: Effects,
    /// Runs in which faults of a kind took effect.
    runs_with: Effects,
    recoveries: Recoveries,
    runs_with_recovery: Recoveries,
}

impl Totals {
    /// Adds a run.
    pub fn add(&mut self, seed: u64, report: &Report) {
        if let Some(violation) = &report.violation {
            self.failed.push((seed, format!("{}: {}", violation.checker, violation.what)));
        }
        if !counts(&report.figures) {
            self.idle += 1;
            return;
        }
        self.runs += 1;
        let (sum, one) = (&mut self.figures, &report.figures);
        sum.proposed += one.proposed;
        sum.acknowledged += one.acknowledged;
        sum.refused += one.refused;
        sum.unknown += one.unknown;
        sum.reads += one.reads;
        sum.terms += one.terms;
        sum.millis += one.millis;
        for (recovery, count) in &one.recoveries {
            *self.recoveries.entry(*recovery).or_default() += count;
            *self.runs_with_recovery.entry(*recovery).or_default() += 1;
        }
        for (kind, count) in &one.effects {
            *self.effects.entry(*kind).or_default() += count;
            *self.runs_with.entry(*kind).or_default() += 1;
        }
    }

    /// The table of these sums.
    #[must_use]
    pub fn table(&self, took: Duration) -> String {
        let sum = &self.figures;
        let mut lines = vec![
            format!("runs that count          {:>10}", self.runs),
            format!("runs without bite        {:>10}", self.idle),
            format!("runs that failed         {:>10}", self.failed.len()),
            format!("simulated hours          {:>10.1}", Duration::from_millis(sum.millis).as_secs_f64() / 3600.0),
            format!("real seconds             {:>10.1}", took.as_secs_f64()),
            format!("proposals                {:>10}", sum.proposed),
            format!("  acknowledged           {:>10}", sum.acknowledged),
            format!("  refused                {:>10}", sum.refused),
            format!("  unknown                {:>10}", sum.unknown),
            format!("read points              {:>10}", sum.reads),
            format!("terms with a commit      {:>10}", sum.terms),
            format!("{:<25}{:>10} {:>9}", "faults that took effect", "times", "in runs"),
        ];
        for kind in Kind::ALL {
            let of = |effects: &Effects| effects.get(&kind).copied().unwrap_or(0);
            lines.push(format!("  {kind:<23}{:>10} {:>9}", of(&self.effects), of(&self.runs_with)));
        }
        lines.push(format!("{:<25}{:>10} {:>9}", "what came of them", "times", "in runs"));
        for recovery in Recovery::ALL {
            let of = |recoveries: &Recoveries| recoveries.get(&recovery).copied().unwrap_or(0);
            lines.push(format!("  {recovery:<23}{:>10} {:>9}", of(&self.recoveries), of(&self.runs_with_recovery)));
        }
        lines.join("\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        writeln!(
            f,
            "{} simulated ms, {} proposals ({} acknowledged, {} refused, {} unknown), {} read points, {} terms, trace {:016x}",
            figures.millis,
            figures.proposed,
            figures.acknowledged,
            figures.refused,
            figures.unknown,
            figures.reads,
            figures.terms,
            figures.trace
        )?;
        for (kind, count) in &figures.effects {
            writeln!(f, "  {kind:<26}{count:>4}")?;
        }
        for (recovery, count) in &figures.recoveries {
            writeln!(f, "  {recovery:<26}{count:>4}")?;
        }
        match &self.violation {
            Some(violation) => write!(f, "VIOLATION of {}: {}", violation.checker, violation.what),
            None if counts(figures) => write!(f, "no violation"),
            None => write!(f, "no violation, but too few faults took effect: this run does not count"),
        }
    }
}
