//! Nodes at the same applied index have the same state.

use std::collections::BTreeMap;

use super::Violation;

/// What a node says of its state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeDigest {
    /// The node's id.
    pub node: u64,
    /// The last entry in its state.
    pub applied: u64,
    /// The rolling digest up to that entry.
    pub digest: u64,
}

/// What breaks the promise. Digests at different indexes cannot be compared and are no violation.
#[must_use]
pub fn check(digests: &[NodeDigest]) -> Vec<Violation> {
    let mut first: BTreeMap<u64, &NodeDigest> = BTreeMap::new();
    let mut violations = Vec::new();
    for digest in digests {
        let known = *first.entry(digest.applied).or_insert(digest);
        if known.digest != digest.digest {
            violations.push(Violation(format!(
                "states differ at applied index {}: node {} has {:016x}, node {} has {:016x}",
                digest.applied, known.node, known.digest, digest.node, digest.digest
            )));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::samples::words;

    fn digest(node: u64, applied: u64, digest: u64) -> NodeDigest {
        NodeDigest { node, applied, digest }
    }

    #[test]
    fn equal_digests_or_other_indexes_are_right() {
        assert_eq!(check(&[digest(1, 5, 77), digest(2, 5, 77), digest(3, 4, 12)]), []);
    }

    #[test]
    fn different_digests_at_one_index_are_named() {
        let text = words(&check(&[digest(1, 5, 77), digest(2, 5, 77), digest(3, 5, 78)]));
        assert!(text.starts_with("states differ at applied index 5: node 1 has"), "{text}");
    }
}
