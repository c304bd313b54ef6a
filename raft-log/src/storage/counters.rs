//! The counters behind [`StorageStats`]: written by the I/O thread and readers, read by anybody.

use super::stats::StorageStats;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) batches: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) reads_from_files: AtomicU64,
    pub(crate) unwritten_bytes: AtomicU64,
    pub(crate) repaired_ranges: AtomicU64,
    pub(crate) scrubbed_bytes: AtomicU64,
    pub(crate) scrub_rounds: AtomicU64,
    /// What is left of the active segment.
    pub(crate) active_left_bytes: AtomicU64,
    /// The next segment's space, once it is allocated.
    pub(crate) prepared_bytes: AtomicU64,
    /// The files of released segments that wait to be used again.
    pub(crate) spare_bytes: AtomicU64,
    pub(crate) segments_recycled: AtomicU64,
    syncs: AtomicU64,
    sync_nanos: AtomicU64,
    write_nanos: AtomicU64,
    sync_micros_log2: [AtomicU64; StorageStats::BUCKETS],
}

impl Counters {
    pub(crate) fn synced(&self, took: Duration) {
        self.syncs.fetch_add(1, Relaxed);
        self.sync_nanos.fetch_add(nanos(took), Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = usize::try_from(u64::BITS - micros.leading_zeros()).expect("at most 64");
        self.sync_micros_log2[bucket.min(StorageStats::BUCKETS - 1)].fetch_add(1, Relaxed);
    }

    pub(crate) fn wrote(&self, bytes: u64, took: Duration) {
        self.bytes_written.fetch_add(bytes, Relaxed);
        self.write_nanos.fetch_add(nanos(took), Relaxed);
    }

    pub(crate) fn snapshot(&self) -> StorageStats {
        StorageStats {
            batches: self.batches.load(Relaxed),
            records: self.records.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            sync_nanos: self.sync_nanos.load(Relaxed),
            write_nanos: self.write_nanos.load(Relaxed),
            sync_micros_log2: std::array::from_fn(|bucket| self.sync_micros_log2[bucket].load(Relaxed)),
            reads_from_files: self.reads_from_files.load(Relaxed),
            unwritten_bytes: self.unwritten_bytes.load(Relaxed),
            allocated_bytes: self.active_left_bytes.load(Relaxed)
                + self.prepared_bytes.load(Relaxed)
                + self.spare_bytes.load(Relaxed),
            log_bytes: 0,
            spare_bytes: self.spare_bytes.load(Relaxed),
            segments_recycled: self.segments_recycled.load(Relaxed),
            repaired_ranges: self.repaired_ranges.load(Relaxed),
            scrubbed_bytes: self.scrubbed_bytes.load(Relaxed),
            scrub_rounds: self.scrub_rounds.load(Relaxed),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_are_counted_by_the_power_of_two_that_they_stay_below() {
        let counters = Counters::default();
        for micros in [0, 1, 2, 3, 4, u64::MAX] {
            counters.synced(Duration::from_micros(micros));
        }
        let stats = counters.snapshot();
        assert_eq!(stats.sync_micros_log2[..4], [1, 1, 2, 1]);
        assert_eq!(stats.sync_micros_log2[StorageStats::BUCKETS - 1], 1);
        assert_eq!(stats.syncs, 6);
    }
}
