//! What became of the lines, in numbers.

use std::collections::BTreeSet;

use serde::Serialize;

/// Lines that are named as not stored; of more, the first ones.
const LINES_NAMED_MAX: usize = 100;
/// The same in the sentence for people.
const LINES_SAID_MAX: usize = 10;

#[derive(Debug, Serialize, Default)]
pub(super) struct Summary {
    pub(super) stored: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
    /// Up to 100 lines that were refused.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) refused_lines: BTreeSet<u64>,
    /// Up to 100 lines of which it is not known whether they are stored.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) unknown_lines: BTreeSet<u64>,
    pub(super) skipped_empty_lines: u64,
    /// Where the reading ended, if not at the end: the first line that was not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended_before_line: Option<u64>,
    pub(super) seconds: f64,
    pub(super) rate: f64,
    pub(super) mb_per_s: f64,
    pub(super) longest_gap_ms: u64,
    /// Whether it was said what to do about refused messages.
    #[serde(skip)]
    pub(super) hinted: bool,
}

impl Summary {
    pub(super) fn refused(&mut self, line: u64) {
        self.refused += 1;
        name(&mut self.refused_lines, line);
    }

    pub(super) fn unknown(&mut self, line: u64) {
        self.unknown += 1;
        name(&mut self.unknown_lines, line);
    }

    pub(super) fn all_stored(&self) -> bool {
        self.refused == 0 && self.unknown == 0
    }

    pub(super) fn words(&self) -> String {
        let mut words = format!(
            "{} stored, {} refused, {} unknown in {:.2} s: {:.0} messages/s, {:.1} MB/s, longest gap {} ms",
            self.stored, self.refused, self.unknown, self.seconds, self.rate, self.mb_per_s, self.longest_gap_ms
        );
        for (what, count, lines) in
            [("refused", self.refused, &self.refused_lines), ("unknown", self.unknown, &self.unknown_lines)]
        {
            if count > 0 {
                words.push_str(&format!("\n{what}: {}", say(count, lines)));
            }
        }
        if let Some(line) = self.ended_before_line {
            words.push_str(&format!("\nended before line {line}"));
        }
        words
    }
}

/// Keeps the first ones, in whatever order they come.
fn name(lines: &mut BTreeSet<u64>, line: u64) {
    lines.insert(line);
    if lines.len() > LINES_NAMED_MAX {
        lines.pop_last();
    }
}

fn say(count: u64, lines: &BTreeSet<u64>) -> String {
    let said: Vec<String> = lines.iter().take(LINES_SAID_MAX).map(u64::to_string).collect();
    let more = match count - said.len() as u64 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("line{} {}{more}", if count == 1 { "" } else { "s" }, said.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_failed_are_named_the_first_ones_in_their_order() {
        let mut summary = Summary::default();
        assert!(!summary.words().contains('\n'));
        for line in (1..=200).rev() {
            summary.refused(line);
        }
        summary.unknown(7);
        assert_eq!(summary.refused_lines, (1..=100).collect());
        summary.ended_before_line = Some(300);
        let words = summary.words();
        let (first, more) = words.split_once('\n').unwrap();
        assert!(first.starts_with("0 stored, 200 refused, 1 unknown in 0.00 s"), "{first}");
        assert_eq!(
            more,
            "refused: lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 190 more\nunknown: line 7\nended before line 300"
        );
    }
}
