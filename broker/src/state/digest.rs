//! The rolling digest: one number that differs as soon as two nodes differ (hazards 17).
//!
//! Chained over each entry's id, what it wrote and what it answered. Per entry and not per call of `apply`, because how
//! entries are grouped into calls differs between nodes. It finds divergence by accident, not by intent: it is no
//! cryptographic hash.

use std::collections::VecDeque;

use raft_log::types::{LogId, LogIndex};

/// How many applied entries back nodes can be compared.
const HISTORY_MAX: usize = 16_384;

/// A digest under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest(pub(crate) u64);

impl Digest {
    /// Takes in bytes; their length too, so that two parts are told from their concatenation.
    pub(crate) fn absorb(&mut self, bytes: &[u8]) {
        self.absorb_number(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.absorb_number(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.absorb_number(u64::from_le_bytes(last));
    }

    pub(crate) fn absorb_number(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = (mixed ^ (mixed >> 29)).rotate_left(23).wrapping_add(0x2545_f491_4f6c_dd1d);
    }
}

/// The rolling digest at an applied index: equal on all nodes that applied it (hazards 17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateDigest {
    /// The last applied entry.
    pub applied: LogId,
    /// The digest of everything up to it.
    pub digest: u64,
}

/// The digests of the last entries.
#[derive(Debug, Default)]
pub(crate) struct DigestHistory {
    last: VecDeque<StateDigest>,
}

impl DigestHistory {
    pub(crate) fn push(&mut self, applied: LogId, digest: Digest) {
        if self.last.len() == HISTORY_MAX {
            self.last.pop_front();
        }
        self.last.push_back(StateDigest { applied, digest: digest.0 });
    }

    pub(crate) fn latest(&self) -> Option<StateDigest> {
        self.last.back().copied()
    }

    pub(crate) fn at(&self, index: LogIndex) -> Option<StateDigest> {
        let at = self.last.binary_search_by_key(&index, |known| known.applied.index).ok()?;
        Some(self.last[at])
    }
}

#[cfg(test)]
mod tests {
    use raft_log::types::Term;

    use super::*;

    #[test]
    fn every_bit_and_every_border_counts() {
        let of = |parts: &[&[u8]]| {
            let mut digest = Digest::default();
            parts.iter().for_each(|part| digest.absorb(part));
            digest
        };
        let text = b"some bytes of a batch";
        for at in 0..text.len() * 8 {
            let mut other = *text;
            other[at / 8] ^= 1 << (at % 8);
            assert_ne!(of(&[text]), of(&[&other]));
        }
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"a"]), of(&[b"a\0"]));
        assert_ne!(of(&[b""]), of(&[]));
    }

    #[test]
    fn the_history_answers_for_the_indexes_it_holds() {
        let mut history = DigestHistory::default();
        let id = |index| LogId { term: Term(1), index: LogIndex(index) };
        for index in 0..HISTORY_MAX as u64 + 10 {
            history.push(id(index), Digest(index));
        }
        assert_eq!(history.at(LogIndex(9)), None);
        assert_eq!(history.at(LogIndex(10)), Some(StateDigest { applied: id(10), digest: 10 }));
        assert_eq!(history.latest().map(|latest| latest.applied), Some(id(HISTORY_MAX as u64 + 9)));
    }
}
