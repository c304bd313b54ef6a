//! The greatest resident memory of this process, all replicas together, without the pages of mapped files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub(crate) struct PeakMemory {
    pub(crate) begin_mib: u64,
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl PeakMemory {
    pub(crate) fn start() -> PeakMemory {
        let begin_mib = resident_mib();
        let (peak, stop) = (Arc::new(AtomicU64::new(begin_mib)), Arc::new(AtomicBool::new(false)));
        let (sampled, stopped) = (peak.clone(), stop.clone());
        tokio::spawn(async move {
            while !stopped.load(Relaxed) {
                sampled.fetch_max(resident_mib(), Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        PeakMemory { begin_mib, peak, stop }
    }

    /// The greatest, in MiB.
    pub(crate) fn stop(&self) -> u64 {
        self.stop.store(true, Relaxed);
        self.peak.load(Relaxed)
    }
}

/// Anonymous memory of this process.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux tells it apart");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
}
