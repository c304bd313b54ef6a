//! When the state is persisted.

use raft_log::FlushNeed;

/// The golden ratio's fraction, in 1/1024: multiples of it spread consecutive numbers evenly.
const SPREAD_STEP: u64 = 633;
/// Triggers are moved to at least this share of what is set, in 1/1024.
const SHARE_MIN: u64 = 640;
/// Deleted ranges after which a flush is due, whatever is set: until then each read of the store looks at all of them.
const RANGES_MAX: u64 = 512;
/// How many times the memory of a due flush may fill before nothing is applied any more until the last flush is finished.
const OVERDUE_MEMTABLES: u64 = 4;

/// A flush is due after any of these; a restart applies again what came since (hazards 22).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushTriggers {
    /// Bytes of log.
    pub log_bytes: u64,
    /// Messages stored or delivered: small ones take long to apply again before the log has grown by `log_bytes`.
    pub messages: u64,
    /// Bytes that wait in memory. At four times as many, and with the flush before still unfinished, applying waits.
    pub memory_bytes: u64,
}

/// About a second's worth; `make bench-restart` measures it.
impl Default for FlushTriggers {
    fn default() -> FlushTriggers {
        FlushTriggers { log_bytes: 256 << 20, messages: 500_000, memory_bytes: 64 << 20 }
    }
}

impl FlushTriggers {
    /// Moved down by a share that the node's number decides. Replicas apply the same entries at the same pace: with equal
    /// triggers they would all flush at once, and no quorum would hide it.
    #[must_use]
    pub fn of_node(self, node: u64) -> FlushTriggers {
        let place = node.wrapping_mul(SPREAD_STEP) % 1024;
        let share = SHARE_MIN + place * (1024 - SHARE_MIN) / 1024;
        let of = |trigger: u64| (trigger / 1024).saturating_mul(share).max(1);
        FlushTriggers {
            log_bytes: of(self.log_bytes),
            messages: of(self.messages),
            memory_bytes: of(self.memory_bytes),
        }
    }

    pub(crate) fn need(&self, unflushed: Unflushed, memtable_bytes: u64) -> FlushNeed {
        if memtable_bytes >= self.memory_bytes.saturating_mul(OVERDUE_MEMTABLES) {
            FlushNeed::Overdue
        } else if unflushed.log_bytes >= self.log_bytes
            || unflushed.messages >= self.messages
            || unflushed.ranges >= RANGES_MAX
            || memtable_bytes >= self.memory_bytes
        {
            FlushNeed::Due
        } else {
            FlushNeed::None
        }
    }
}

/// What a restart would have to apply again, beside what the flush under way persists.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unflushed {
    pub(crate) log_bytes: u64,
    pub(crate) messages: u64,
    /// Ranges of keys that were deleted.
    pub(crate) ranges: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_triggers_of_neighbours_lie_apart() {
        let of = |node| FlushTriggers::default().of_node(node).log_bytes >> 20;
        let triggers: Vec<u64> = (1..=5).map(of).collect();
        for (at, one) in triggers.iter().enumerate() {
            assert!((160..=256).contains(one));
            assert!(triggers[at + 1..].iter().all(|other| one.abs_diff(*other) >= 8), "{triggers:?}");
        }
    }

    #[test]
    fn memory_is_bounded_whatever_else_is_set() {
        let triggers = FlushTriggers { log_bytes: u64::MAX, messages: u64::MAX, memory_bytes: 1 << 20 };
        let nothing = Unflushed::default();
        assert_eq!(triggers.need(nothing, 0), FlushNeed::None);
        assert_eq!(triggers.need(nothing, 1 << 20), FlushNeed::Due);
        assert_eq!(triggers.need(nothing, 4 << 20), FlushNeed::Overdue);
        assert_eq!(triggers.need(Unflushed { ranges: RANGES_MAX, ..nothing }, 0), FlushNeed::Due);
        assert_eq!(triggers.need(Unflushed { messages: u64::MAX, ..nothing }, 0), FlushNeed::Due);
    }
}
