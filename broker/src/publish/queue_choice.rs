//! Which queue a message goes to. Chosen by the leader and checked in `apply`; clients do not choose.
//!
//! Normal messages: the requests of a topic take its queues in turn, a request's messages stay together, so that one
//! request costs one index record. Messages with a message group: by the group's hash, consistently (Lamping and
//! Veach, "A fast, minimal memory, consistent hash algorithm", 2014): when a topic grows from n to m queues, only the
//! groups that move to a new queue move at all.

use std::sync::atomic::{AtomicU32, Ordering};

const COUNTERS: usize = 256;

/// Takes the queues in turn, per topic.
pub struct RoundRobin {
    next: [AtomicU32; COUNTERS],
}

impl RoundRobin {
    /// Starts at queue 0 of every topic.
    pub fn new() -> RoundRobin {
        RoundRobin { next: [const { AtomicU32::new(0) }; COUNTERS] }
    }

    /// The next queue of the topic with this number. Topics whose numbers are 256 apart share a turn.
    pub fn next(&self, topic: u64, queues: u32) -> u32 {
        assert!(queues > 0, "a topic has a queue");
        self.next[(topic % COUNTERS as u64) as usize].fetch_add(1, Ordering::Relaxed) % queues
    }
}

impl Default for RoundRobin {
    fn default() -> Self {
        RoundRobin::new()
    }
}

/// The queue of a message group with this hash.
pub fn by_group(hash: u64, queues: u32) -> u32 {
    assert!(queues > 0, "a topic has a queue");
    let mut state = hash;
    let mut candidate = 0_i64;
    let mut chosen = 0;
    while candidate < i64::from(queues) {
        chosen = candidate;
        state = state.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let step = (1_u64 << 31) as f64 / ((state >> 33) + 1) as f64;
        candidate = ((chosen + 1) as f64 * step) as i64;
    }
    u32::try_from(chosen).expect("chosen is below the number of queues")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes() -> impl Iterator<Item = u64> {
        (1..20_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    #[test]
    fn requests_take_the_queues_in_turn() {
        let turn = RoundRobin::new();
        let queues: Vec<u32> = (0..8).map(|_| turn.next(3, 4)).collect();
        assert_eq!(queues, [0, 1, 2, 3, 0, 1, 2, 3]);
        assert_eq!(turn.next(4, 4), 0, "another topic has its own turn");
    }

    #[test]
    fn message_groups_spread_evenly() {
        let mut counts = [0_u32; 16];
        for hash in hashes() {
            counts[by_group(hash, 16) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (1000..1500).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_growing_topic_moves_groups_only_to_new_queues() {
        let mut moved = 0;
        for hash in hashes() {
            let (before, after) = (by_group(hash, 4), by_group(hash, 16));
            assert!(after == before || after >= 4, "moved between old queues");
            moved += u32::from(after != before);
        }
        assert!((14_000..16_000).contains(&moved), "three quarters belong to the new queues, {moved} moved");
    }

    #[test]
    fn one_queue_is_always_queue_0() {
        assert!(hashes().all(|hash| by_group(hash, 1) == 0));
    }
}
