//! Everything that was measured: a document for people, and JSON for programs.

use std::fmt::Write;

use serde::Serialize;

use super::{
    figures::{Figures, median},
    idle::Idle,
    yardstick::Reached,
};

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// `sync` or `async`.
    pub durability: String,
    /// Bytes of a body.
    pub size: u32,
    /// Unacknowledged messages at a time.
    pub in_flight: u32,
    /// What came out.
    pub figures: Figures,
}

/// Interleaved runs of one load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Bytes of a body.
    pub size: u32,
    /// Unacknowledged messages at a time.
    pub in_flight: u32,
    /// Of Tercet.
    pub ours: Vec<Figures>,
    /// Of the yardstick.
    pub yardstick: Vec<Reached>,
}

impl Comparison {
    /// Our median rate as a part of the yardstick's.
    #[must_use]
    pub fn rate_ratio(&self) -> f64 {
        median(self.ours.iter().map(|run| run.rate)) / median(self.yardstick.iter().map(|run| run.rate))
    }

    /// Our median p50 as a multiple of the yardstick's.
    #[must_use]
    pub fn p50_ratio(&self) -> f64 {
        median(self.ours.iter().map(|run| run.p50_us as f64)) / median(self.yardstick.iter().map(|run| run.p50_us))
    }
}

/// Everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// What nodes use at rest.
    pub idle: Vec<Idle>,
    /// Against the yardstick; empty if there was none.
    pub comparisons: Vec<Comparison>,
    /// All sizes, messages in flight, durabilities.
    pub table: Vec<Row>,
}

impl Report {
    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text =
            String::from("# Measured on this machine: three replicas as processes, the client beside them\n");
        self.write_idle(&mut text);
        self.write_comparisons(&mut text);
        self.write_table(&mut text);
        text
    }

    fn write_idle(&self, text: &mut String) {
        line(text, "\n## At rest\n\n| node | CPU, % of one core | resident, MB |\n|---|---|---|");
        for idle in &self.idle {
            line(text, &format!("| {} | {:.2} | {:.0} |", idle.node, idle.cpu_percent, idle.resident_mb));
        }
    }

    fn write_comparisons(&self, text: &mut String) {
        if self.comparisons.is_empty() {
            return;
        }
        line(text, "\n## Beside the yardstick: medians of interleaved runs, `sync`\n");
        line(text, "| body | in flight | runs | rate/s | yardstick | ratio | p50 us | yardstick | ratio |");
        line(text, "|---|---|---|---|---|---|---|---|---|");
        for comparison in &self.comparisons {
            line(
                text,
                &format!(
                    "| {} | {} | {} | {:.0} | {:.0} | {:.0} % | {:.0} | {:.0} | {:.2} |",
                    bytes(comparison.size),
                    comparison.in_flight,
                    comparison.ours.len(),
                    median(comparison.ours.iter().map(|run| run.rate)),
                    median(comparison.yardstick.iter().map(|run| run.rate)),
                    comparison.rate_ratio() * 100.0,
                    median(comparison.ours.iter().map(|run| run.p50_us as f64)),
                    median(comparison.yardstick.iter().map(|run| run.p50_us)),
                    comparison.p50_ratio(),
                ),
            );
        }
    }

    fn write_table(&self, text: &mut String) {
        line(
            text,
            "\n## Publishing\n\n| durability | body | in flight | rate/s | MB/s | p50 | p99 | p99.9 | max ms | failed |",
        );
        line(text, "|---|---|---|---|---|---|---|---|---|---|");
        for row in &self.table {
            line(text, &row.markdown());
        }
    }
}

impl Row {
    /// As a row of the table; latencies in milliseconds.
    #[must_use]
    pub fn markdown(&self) -> String {
        let figures = &self.figures;
        let ms = |us: u64| us as f64 / 1000.0;
        format!(
            "| {} | {} | {} | {:.0} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {} |",
            self.durability,
            bytes(self.size),
            self.in_flight,
            figures.rate,
            figures.mb_per_s,
            ms(figures.p50_us),
            ms(figures.p99_us),
            ms(figures.p999_us),
            ms(figures.max_us),
            figures.failed,
        )
    }
}

fn line(text: &mut String, content: &str) {
    writeln!(text, "{content}").expect("writing to a string does not fail");
}

fn bytes(size: u32) -> String {
    if size.is_multiple_of(1024) { format!("{} KiB", size / 1024) } else { format!("{size} B") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rate: f64, p50_us: u64) -> Figures {
        Figures { rate, mb_per_s: 1.0, p50_us, p99_us: 2_000, p999_us: 3_000, max_us: 4_000, failed: 0 }
    }

    #[test]
    fn ratios_are_of_medians() {
        let comparison = Comparison {
            size: 1024,
            in_flight: 1,
            ours: vec![figures(10.0, 900), figures(50.0, 100), figures(40.0, 500)],
            yardstick: [20.0, 80.0, 90.0].map(|rate| Reached { rate, p50_us: 250.0 }).to_vec(),
        };
        assert!((comparison.rate_ratio() - 0.5).abs() < 1e-9);
        assert!((comparison.p50_ratio() - 2.0).abs() < 1e-9);
        let report = Report { comparisons: vec![comparison], ..Report::default() };
        let text = report.markdown();
        assert!(text.contains("| 1 KiB | 1 | 3 | 40 | 80 | 50 % | 500 | 250 | 2.00 |"), "{text}");
    }

    #[test]
    fn a_row_reads_in_milliseconds() {
        let row = Row { durability: "sync".to_owned(), size: 100, in_flight: 256, figures: figures(1234.5, 1_500) };
        assert_eq!(row.markdown(), "| sync | 100 B | 256 | 1234 | 1.0 | 1.50 | 2.00 | 3.00 | 4.00 | 0 |");
    }
}
