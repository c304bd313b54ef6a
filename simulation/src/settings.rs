//! What a seed decides before anything runs.

use std::collections::BTreeSet;
use std::time::Duration;

use raft_log::env::sim::SeededRng;
use raft_log::{Durability, ElectionOptions, RetentionOptions, Sizes};

use crate::faults::Kind;

/// One run's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The seed that decided the rest.
    pub seed: u64,
    /// Voters.
    pub nodes: u8,
    /// Clients that publish at the same time.
    pub clients: u64,
    /// Longest pause of a client between two proposals.
    pub think_max: Duration,
    /// Longest payload.
    pub payload_bytes_max: u64,
    /// All payloads are that long.
    pub payload_fixed: bool,
    /// When an append counts as persisted.
    pub durability: Durability,
    /// Longest payload that the log takes.
    pub entry_bytes_max: usize,
    /// Size of a segment.
    pub segment_bytes_max: u64,
    /// Distances inside of a segment.
    pub sizes: Sizes,
    /// Bound of the log's cache: small ones make nodes read files.
    pub cache_bytes_max: usize,
    /// How much of the log is kept.
    pub retention: RetentionOptions,
    /// Entries between two flushes of the state.
    pub flush_every: u64,
    /// Times of elections.
    pub election: ElectionOptions,
    /// A disk that finishes nothing for longer keeps its node out of elections.
    pub disk_stall_max: Duration,
    /// How long faults are made.
    pub faults_last: Duration,
    /// So many of 100 faults of one node hit the leader, at least: it has the most to lose.
    pub leader_percent: u64,
    /// Longest pause between two faults.
    pub fault_pause_max: Duration,
    /// Which faults this run makes: few kinds at a time reach states that all of them together never do.
    pub kinds: BTreeSet<Kind>,
    /// A fault of several steps that this run makes often.
    pub scripted: Option<Kind>,
}

/// What a run is about, beside its faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    /// Anything.
    Mixed,
    /// A large group whose leaders are cut off one after the other.
    LeadersInTurn,
    /// Little is kept of a log that grows fast, so that followers and fresh nodes need checkpoints.
    ShortRetention,
    /// Records of one length in small segments that are recycled at once, so that old records lie where new ones end.
    EqualRecords,
    /// A follower's disk is put back as it was earlier.
    OlderCopies,
    /// Only age bounds the log, and clocks jump and drift.
    Ages,
    /// Five or seven voters, a leader that reaches one of them only, and hosts that are slow to reach.
    Apart,
    /// Disks fill, hang and fail.
    Disks,
    /// The end of a leader's log is overwritten again and again, and it dies meanwhile.
    OverwrittenTails,
    /// Few, long entries.
    LongEntries,
}

/// So many of 100 groups have small distances inside of their segments.
const SMALL_SIZES_PERCENT: u64 = 60;

fn millis(rng: &SeededRng, least: u64, most: u64) -> Duration {
    Duration::from_millis(least + rng.below(most - least + 1))
}

/// Distances that a log of seconds gets across: with those of a machine its segments would end before the first one.
fn small_sizes(rng: &SeededRng) -> Sizes {
    let zero_chunk = 4 << 10 << rng.below(2);
    let zero_margin = rng.below(3) * (2 << 10);
    Sizes {
        index_every: 1 << 10 << rng.below(5),
        unsynced_max: 4 << 10 << rng.below(4),
        probe_spacing: 4 << 10 << rng.below(2),
        zero_margin,
        zero_ahead: zero_margin + zero_chunk * (1 + rng.below(2)),
        zero_chunk,
    }
}

impl Settings {
    /// The settings of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Settings {
        let rng = SeededRng::new(seed ^ 0x0073_6574_7469_6e67);
        let durability = if rng.chance(85) { Durability::Sync } else { Durability::Async };
        let timeout_min = millis(&rng, 100, 400);
        let election = ElectionOptions {
            heartbeat_interval: timeout_min / 5,
            timeout_min,
            timeout_max: timeout_min + millis(&rng, 50, 300),
        };
        let segment_bytes_max = 16 << 10 << rng.below(3);
        let retention = RetentionOptions {
            bytes_max: rng.chance(60).then(|| segment_bytes_max * (1 + rng.below(4))),
            check_interval: millis(&rng, 100, 1_000),
            checkpoints_max: usize::try_from(2 + rng.below(5)).expect("few"),
            // Whatever a run of seconds leaves is sent in a few of them.
            transfer_bytes_per_second: 64 << 10 << rng.below(8),
            // What exceeds a bound goes at once: runs last seconds.
            trim_percent_max: 100,
            ..RetentionOptions::default()
        };
        let usable = |kind: &Kind| {
            !kind.is_scripted() && *kind != Kind::Bridge && (durability == Durability::Sync || kind.spares_unsynced())
        };
        let share = 20 + rng.below(70);
        let mut kinds: BTreeSet<Kind> = Kind::ALL.into_iter().filter(usable).filter(|_| rng.chance(share)).collect();
        // Something must happen.
        kinds.insert(Kind::Kill);
        kinds.insert(Kind::CutLeader);
        let mixed = Settings {
            seed,
            nodes: [3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 7, 1][usize::try_from(rng.below(12)).expect("one of twelve")],
            clients: 1 + rng.below(5),
            think_max: millis(&rng, 10, 200),
            payload_fixed: false,
            payload_bytes_max: [40, 400, 3_000][usize::try_from(rng.below(3)).expect("one of three")],
            durability,
            entry_bytes_max: 8 << 10,
            segment_bytes_max,
            sizes: if rng.chance(SMALL_SIZES_PERCENT) { small_sizes(&rng) } else { Sizes::default() },
            retention,
            cache_bytes_max: [1 << 10, 16 << 10, 1 << 20][usize::try_from(rng.below(3)).expect("one of three")],
            flush_every: 1 + rng.below(60),
            election,
            disk_stall_max: millis(&rng, 800, 2_000),
            faults_last: millis(&rng, 6_000, 14_000),
            fault_pause_max: millis(&rng, 150, 1_500),
            kinds,
            leader_percent: 50,
            scripted: None,
        };
        let theme = match rng.below(100) {
            0..23 => Theme::Mixed,
            23..32 if durability == Durability::Sync => Theme::OlderCopies,
            23..32 => Theme::Mixed,
            32..43 => Theme::LeadersInTurn,
            43..55 => Theme::ShortRetention,
            55..65 => Theme::EqualRecords,
            65..71 => Theme::Ages,
            71..79 => Theme::Apart,
            79..87 => Theme::Disks,
            87..97 => Theme::OverwrittenTails,
            _ => Theme::LongEntries,
        };
        mixed.about(theme, &rng)
    }

    fn about(mut self, theme: Theme, rng: &SeededRng) -> Settings {
        match theme {
            Theme::Mixed => {}
            Theme::LeadersInTurn => {
                self.nodes = 5;
                self.think_max = self.think_max.min(Duration::from_millis(60));
                self.scripted = Some(Kind::LeadersInTurn);
                self.kinds.retain(|_| rng.chance(30));
                self.kinds.insert(Kind::Kill);
                self.fault_pause_max = self.fault_pause_max.min(Duration::from_millis(600));
            }
            Theme::ShortRetention => {
                self.segment_bytes_max = 12 << 10;
                self.entry_bytes_max = 4 << 10;
                self.payload_bytes_max = 3_000;
                self.think_max = self.think_max.min(Duration::from_millis(40));
                self.retention.bytes_max = Some(self.segment_bytes_max);
                self.retention.check_interval = millis(rng, 50, 200);
                self.retention.checkpoints_max = 2;
                self.retention.transfer_bytes_per_second = 1 << 20;
                self.scripted = Some(Kind::LeftBehind);
                self.fault_pause_max = self.fault_pause_max.min(Duration::from_millis(500));
                self.kinds.extend([Kind::Learner, Kind::Swap]);
            }
            Theme::OlderCopies => {
                self.scripted = Some(Kind::OlderCopy);
                // A leader whose disk fails takes what it knows of the copy along.
                self.kinds.retain(|kind| kind.spares_unsynced() || kind.restarts_one());
            }
            Theme::EqualRecords => self.be_about_equal_records(rng),
            Theme::Ages => {
                self.nodes = 3;
                self.think_max = self.think_max.min(Duration::from_millis(30));
                (self.segment_bytes_max, self.entry_bytes_max, self.payload_bytes_max) = (12 << 10, 4 << 10, 400);
                self.retention.bytes_max = None;
                self.retention.age_max = Some(millis(rng, 3_000, 5_000));
                self.retention.check_interval = millis(rng, 50, 200);
                self.kinds.retain(|kind| kind.restarts_one() && rng.chance(50));
                self.kinds.extend([Kind::ClockJump, Kind::ClockDrift, Kind::CutLeader, Kind::Transfer]);
                self.faults_last = self.faults_last.max(Duration::from_secs(10));
            }
            Theme::Apart => {
                self.nodes = if rng.chance(70) { 5 } else { 7 };
                self.kinds.retain(|_| rng.chance(20));
                self.kinds.extend([Kind::Bridge, Kind::FarApart, Kind::ResetAll]);
                self.scripted = Some(Kind::Bridge);
            }
            Theme::Disks => self.be_about_disks(rng),
            Theme::OverwrittenTails => {
                self.scripted = Some(Kind::OverwrittenTail);
                self.nodes = 3;
                self.clients = 5;
                self.think_max = self.think_max.min(Duration::from_millis(40));
                // What is cut is read from files.
                self.cache_bytes_max = 1 << 10;
                self.fault_pause_max = self.fault_pause_max.min(Duration::from_millis(500));
                self.kinds.retain(|kind| kind.restarts_one() && rng.chance(50));
                self.kinds.insert(Kind::Kill);
            }
            Theme::LongEntries => {
                self.entry_bytes_max = 96 << 10;
                self.payload_bytes_max = 90_000;
                self.segment_bytes_max = 256 << 10;
                self.retention.bytes_max = self.retention.bytes_max.map(|_| self.segment_bytes_max * 2);
                self.think_max = self.think_max.max(Duration::from_millis(60));
            }
        }
        self
    }

    /// See [`Theme::Disks`].
    fn be_about_disks(&mut self, rng: &SeededRng) {
        self.kinds.retain(|_| rng.chance(20));
        let disks = [
            Kind::DiskFull,
            Kind::HungSync,
            Kind::SyncError,
            Kind::WriteError,
            Kind::ReadError,
            Kind::BitFlip,
            Kind::BadSector,
        ];
        let fits = |kind: &Kind| self.durability == Durability::Sync || kind.spares_unsynced();
        self.kinds.extend(disks.into_iter().filter(fits));
        self.kinds.insert(Kind::SlowDisk);
    }

    /// See [`Theme::EqualRecords`].
    fn be_about_equal_records(&mut self, rng: &SeededRng) {
        self.clients = 5;
        self.think_max = millis(rng, 4, 10);
        // As long as the command that trims the log.
        (self.payload_fixed, self.payload_bytes_max) = (true, 16);
        self.segment_bytes_max = 10 << 10;
        self.entry_bytes_max = 1 << 10;
        self.retention.bytes_max = Some(self.segment_bytes_max);
        self.retention.check_interval = millis(rng, 50, 100);
        self.retention.checkpoints_max = 2;
        // Few elections: the old records must be of the present term to look like the next ones.
        self.leader_percent = 5;
        self.kinds.retain(|kind| kind.restarts_one());
        self.kinds.insert(Kind::Kill);
        self.fault_pause_max = self.fault_pause_max.min(Duration::from_millis(1_000));
    }

    /// Whether commands carry the time at which they were proposed.
    #[must_use]
    pub fn are_stamped(&self) -> bool {
        self.retention.age_max.is_some()
    }

    /// The length of a payload.
    #[must_use]
    pub fn payload_bytes(&self, rng: &SeededRng) -> u64 {
        if self.payload_fixed { self.payload_bytes_max } else { 8 + rng.below(self.payload_bytes_max) }
    }
}
