//! Nodes hold the same log up to the lower commit index: index, term, kind and payload CRC of each entry.

use std::collections::BTreeMap;

use super::Violation;

/// What two nodes must agree on about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Raft index.
    pub index: u64,
    /// Raft term.
    pub term: u64,
    /// Number of the entry's kind in `tercet.admin.v1`.
    pub kind: i32,
    /// CRC32C of the payload.
    pub payload_crc: u32,
}

/// The log of one node, as it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLog {
    /// The node's id.
    pub node: u64,
    /// The last index that it knows to be committed (and has applied).
    pub committed: u64,
    /// From the first that it holds, in its order.
    pub entries: Vec<Entry>,
}

/// What breaks the promise between these nodes.
#[must_use]
pub fn check(logs: &[NodeLog]) -> Vec<Violation> {
    let mut violations: Vec<Violation> = logs.iter().flat_map(gaps).collect();
    for (position, left) in logs.iter().enumerate() {
        for right in &logs[position + 1..] {
            violations.extend(compare(left, right));
        }
    }
    violations
}

/// A node's own log has no gaps and holds everything up to its commit index.
fn gaps(log: &NodeLog) -> Vec<Violation> {
    let mut violations = Vec::new();
    for pair in log.entries.windows(2) {
        if pair[1].index != pair[0].index + 1 {
            violations
                .push(Violation(format!("node {}: entry {} follows entry {}", log.node, pair[1].index, pair[0].index)));
        }
        if pair[1].term < pair[0].term {
            violations.push(Violation(format!(
                "node {}: the term falls from {} to {} at entry {}",
                log.node, pair[0].term, pair[1].term, pair[1].index
            )));
        }
    }
    if log.entries.last().is_none_or(|last| last.index < log.committed) {
        let last = log.entries.last().map(|last| last.index);
        violations.push(Violation(format!(
            "node {}: committed up to {}, but its log ends with {last:?}",
            log.node, log.committed
        )));
    }
    violations
}

fn compare(left: &NodeLog, right: &NodeLog) -> Vec<Violation> {
    let until = left.committed.min(right.committed);
    let others: BTreeMap<u64, &Entry> = right.entries.iter().map(|entry| (entry.index, entry)).collect();
    left.entries
        .iter()
        .filter(|entry| entry.index <= until)
        .filter_map(|entry| others.get(&entry.index).map(|other| (entry, *other)))
        .filter(|(entry, other)| entry != other)
        .map(|(entry, other)| {
            Violation(format!(
                "entry {} differs: node {} has {entry:?}, node {} has {other:?}",
                entry.index, left.node, right.node
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::words;

    fn entry(index: u64, term: u64, payload_crc: u32) -> Entry {
        Entry { index, term, kind: 2, payload_crc }
    }

    fn log(node: u64, committed: u64, entries: &[Entry]) -> NodeLog {
        NodeLog { node, committed, entries: entries.to_vec() }
    }

    #[test]
    fn equal_up_to_the_lower_commit_index_is_right() {
        let left = log(1, 2, &[entry(0, 0, 9), entry(1, 1, 10), entry(2, 1, 11), entry(3, 1, 12)]);
        let right = log(2, 3, &[entry(1, 1, 10), entry(2, 1, 11), entry(3, 2, 99)]);
        assert_eq!(check(&[left, right]), []);
    }

    #[test]
    fn each_part_of_an_entry_counts() {
        let good = entry(1, 1, 10);
        for other in [Entry { term: 2, ..good }, Entry { kind: 3, ..good }, Entry { payload_crc: 11, ..good }] {
            let text = words(&check(&[log(1, 1, &[good]), log(2, 1, &[other])]));
            assert!(text.starts_with("entry 1 differs: node 1 has"), "{text}");
        }
    }

    #[test]
    fn a_difference_between_any_two_of_three_is_found() {
        let bad = [log(1, 1, &[entry(1, 1, 10)]), log(2, 1, &[entry(1, 1, 10)]), log(3, 1, &[entry(1, 1, 11)])];
        assert_eq!(check(&bad).len(), 2);
    }

    #[test]
    fn a_gap_a_falling_term_and_a_cut_log_are_found() {
        assert_eq!(check(&[log(1, 3, &[entry(1, 1, 10), entry(3, 1, 10)])]).len(), 1);
        assert_eq!(check(&[log(1, 2, &[entry(1, 2, 10), entry(2, 1, 10)])]).len(), 1);
        assert!(words(&check(&[log(1, 2, &[entry(1, 2, 10)])])).contains("its log ends with Some(1)"));
        assert!(words(&check(&[log(1, 2, &[])])).contains("its log ends with None"));
    }
}
