//! What each consumer group has yet to do, read from the state at a scrape: by the leader alone, whose state is current, so
//! that a sum over all nodes counts once.
//!
//! Bounded three ways: a look is taken at most once a second, and seldom enough to cost a twentieth of a processor; it reads so
//! many records of the index and no more ([`READS_MAX`]); and of so many groups and topics, those with most to do are shown
//! (`metrics.backlogs_max`), and how many others there are.

use std::{
    cmp::Reverse,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
};
use raft_log::{
    env::Clock,
    types::{LogIndex, UnixMillis},
};

use super::replica::gauge;
use crate::{
    model::{GroupName, TopicName},
    state::{Backlog, StateReader, Times},
};

/// A look serves the scrapes of this time, or of so many times what it took.
const LOOK_LASTS: Duration = Duration::from_secs(1);
const LOOK_COSTS: u32 = 20;
/// Records of the index that one look reads: some 20 us each, if they are not in memory.
const READS_MAX: usize = 4096;
/// Groups in topics that are named as what holds the log.
const HOLDERS_MAX: usize = 10;

/// What a scrape asks for beside the state.
pub struct BacklogSources {
    /// Whether this node leads and its state is current.
    pub serving: Box<dyn Fn() -> bool + Send + Sync>,
    /// The leader's time.
    pub now: Box<dyn Fn() -> UnixMillis + Send + Sync>,
    /// For how old a look is.
    pub clock: Arc<dyn Clock>,
}

/// Backlog and lag of the consumer groups.
pub struct BacklogCollector {
    state: StateReader,
    sources: BacklogSources,
    shown_max: usize,
    latest: Mutex<Latest>,
}

/// The last look.
#[derive(Default)]
struct Latest {
    /// Until when it serves.
    until: Option<Duration>,
    took: Duration,
    shown: Arc<Vec<Backlog>>,
    /// Those that need the oldest entries, shown or not.
    holders: Arc<Vec<Backlog>>,
    left_out: usize,
    untimed: usize,
    times: Times,
    /// What was known of those that there was no time to read.
    known: HashMap<(TopicName, GroupName), Known>,
}

#[derive(Clone, Copy, Default)]
struct Known {
    oldest: Option<UnixMillis>,
    waiting_since: Option<UnixMillis>,
}

impl BacklogCollector {
    /// Reads from this state whenever it is asked, and shows at most `shown_max` groups in topics.
    #[must_use]
    pub fn new(state: StateReader, sources: BacklogSources, shown_max: usize) -> BacklogCollector {
        BacklogCollector { state, sources, shown_max, latest: Mutex::default() }
    }

    fn look(&self) -> Option<Look> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = self.sources.clock.monotonic();
        if latest.until.is_none_or(|until| begun >= until) {
            match self.state.all_backlogs(&mut latest.times, READS_MAX) {
                Ok(all) => latest.take(all, self.shown_max),
                Err(error) => {
                    tracing::warn!(%error, "the backlogs cannot be shown");
                    return None;
                }
            }
            latest.took = self.sources.clock.monotonic().saturating_sub(begun);
            latest.until = Some(begun + LOOK_LASTS.max(latest.took * LOOK_COSTS));
        }
        let Latest { left_out, untimed, took, .. } = *latest;
        let (shown, holders) = (Arc::clone(&latest.shown), Arc::clone(&latest.holders));
        Some(Look { shown, holders, left_out, untimed, took })
    }
}

impl Latest {
    fn take(&mut self, mut all: Vec<Backlog>, shown_max: usize) {
        let mut needing: Vec<&Backlog> = all.iter().filter(|of| of.needs.is_some()).collect();
        needing.sort_by_key(|of| of.needs);
        self.holders = Arc::new(needing.into_iter().take(HOLDERS_MAX).cloned().collect());
        // Stable: of those with as much to do, the same ones are shown each time.
        all.sort_by_key(|backlog| Reverse(backlog.lag()));
        self.left_out = all.len().saturating_sub(shown_max);
        all.truncate(shown_max);
        self.untimed = all.iter().filter(|backlog| !backlog.timed).count();
        let before = std::mem::take(&mut self.known);
        for backlog in &mut all {
            let of = (backlog.topic.clone(), backlog.group.clone());
            if let Some(known) = before.get(&of).filter(|_| !backlog.timed) {
                // The oldest may be gone since: the age is at most too high by the time since it was read.
                backlog.oldest = backlog.oldest.into_iter().chain(known.oldest).min();
                backlog.waiting_since = backlog.waiting_since.into_iter().chain(known.waiting_since).min();
            }
            self.known.insert(of, Known { oldest: backlog.oldest, waiting_since: backlog.waiting_since });
        }
        self.shown = Arc::new(all);
    }
}

/// What a scrape shows.
struct Look {
    shown: Arc<Vec<Backlog>>,
    holders: Arc<Vec<Backlog>>,
    left_out: usize,
    untimed: usize,
    took: Duration,
}

impl fmt::Debug for BacklogCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BacklogCollector")
    }
}

impl Collector for BacklogCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if !(self.sources.serving)() {
            return Ok(());
        }
        let Some(look) = self.look() else { return Ok(()) };
        let encoder = &mut encoder;
        counts(encoder, &look.shown)?;
        latencies(encoder, &look.shown, (self.sources.now)())?;
        let help = "Consumer groups in topics that are left out here, those with least to do (metrics.backlogs_max). \
                    Shown by the leader";
        gauge(encoder, "tercet_backlogs_left_out", help, look.left_out as u64)?;
        let help = "Consumer groups in topics whose latencies are of an earlier scrape or missing, as too many moved at \
                    once. Shown by the leader";
        gauge(encoder, "tercet_backlogs_untimed", help, look.untimed as u64)?;
        let help = "Seconds that the last look at all backlogs took. Shown by the leader";
        let took = ConstGauge::new(look.took.as_secs_f64());
        took.encode(encoder.encode_descriptor("tercet_backlogs_seconds", help, None, took.metric_type())?)?;
        let Some(held) = self.state.held_back() else { return Ok(()) };
        let help = "Oldest log entry that a consumer group needs for what it has taken and not finished, of the groups that \
                    hold most of the log against retention now. Shown by the leader";
        let index = |of: &Backlog| of.needs.filter(|index| *index < held.before).map(|LogIndex(index)| index);
        each(encoder, "tercet_log_holder_index", help, &look.holders, index)
    }
}

fn counts(encoder: &mut DescriptorEncoder<'_>, shown: &[Backlog]) -> Result<(), fmt::Error> {
    let help = "Messages that a consumer group has yet to finish: ready and in flight. Shown by the leader";
    each(encoder, "rocketmq_consumer_lag_messages", help, shown, |of| Some(of.lag()))?;
    let help = "Messages that nobody of the group holds: not yet received, due again, or behind their message group. \
                Shown by the leader";
    each(encoder, "rocketmq_consumer_ready_messages", help, shown, |of| Some(of.ready))?;
    let help = "Messages that consumers of the group hold, not yet acknowledged. Shown by the leader";
    each(encoder, "rocketmq_consumer_inflight_messages", help, shown, |of| Some(of.in_flight))
}

fn latencies(encoder: &mut DescriptorEncoder<'_>, shown: &[Backlog], now: UnixMillis) -> Result<(), fmt::Error> {
    let age = |since: Option<UnixMillis>| since.map(|since| now.0.saturating_sub(since.0));
    let lag = |of: &Backlog| if of.lag() == 0 { Some(0) } else { age(of.oldest) };
    let help = "Milliseconds since the oldest message was stored that the group has not finished. Shown by the leader";
    each(encoder, "rocketmq_consumer_lag_latency", help, shown, lag)?;
    let queueing = |of: &Backlog| match of.waiting_since {
        // What is left waits behind its message group.
        None if of.timed => Some(0),
        since => age(since),
    };
    let help = "Milliseconds for which the first message waits that a consumer of the group could get: since it was stored, \
                or due again. Shown by the leader";
    each(encoder, "rocketmq_consumer_queueing_latency", help, shown, queueing)
}

/// A gauge with a line for each group in a topic that has a value.
fn each(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    backlogs: &[Backlog],
    value: impl Fn(&Backlog) -> Option<u64>,
) -> Result<(), fmt::Error> {
    let kind = ConstGauge::new(0_i64).metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for of in backlogs {
        if let Some(value) = value(of) {
            let labels = [("topic", of.topic.as_str()), ("consumer_group", of.group.as_str())];
            let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            value.encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;
