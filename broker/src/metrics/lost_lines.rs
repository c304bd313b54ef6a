//! Log lines that nobody will read.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};
use tercet_output::Lines;

/// Counts what the log could not write.
#[derive(Debug)]
pub struct LostLinesCollector(Lines);

impl LostLinesCollector {
    /// Asks these lines whenever it is asked.
    #[must_use]
    pub fn new(lines: Lines) -> LostLinesCollector {
        LostLinesCollector(lines)
    }
}

impl Collector for LostLinesCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Lines of the log that were lost: the output was too slow, or could not be written";
        let mut lost = encoder.encode_descriptor("tercet_log_lines_lost", help, None, MetricType::Counter)?;
        let counts = self.0.lost();
        for (why, count) in [("slow", counts.full), ("unwritable", counts.failed)] {
            ConstCounter::new(count).encode(lost.encode_family(&[("why", why)])?)?;
        }
        Ok(())
    }
}
