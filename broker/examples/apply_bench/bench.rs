//! A state that entries are applied to, and how long that takes.

use std::path::Path;
use std::time::{Duration, Instant};

use raft_log::types::{ClusterId, GroupId, LogId, LogIndex, Term, UnixMillis};
use raft_log::{ApplyEntry, ApplyKind, StateMachine};
use tercet_broker::model::{
    AttemptKey, ClientKey, ConsumerGroupId, GroupName, GroupSettings, MessageGroupKey, QueueId, TagFilter, TopicId,
    TopicName, TopicSettings, TopicType,
};
use tercet_broker::state::{
    BatchBuilder, Bootstrap, CreateGroup, CreateTopic, EncodedCommand, Level, NewMessage, Outcome, Pick,
    PublishBuilder, Receive, State, outcomes,
};

/// Commands that one entry takes where many are applied that nobody measures.
const COMMANDS_PER_ENTRY: usize = 256;

pub(crate) struct Bench {
    pub(crate) state: State,
    pub(crate) next: u64,
    /// The stamp of the next entry.
    pub(crate) now: UnixMillis,
    /// The longest call of `apply` since this was set to zero.
    pub(crate) longest: Duration,
}

impl Bench {
    pub(crate) fn new(folder: &Path) -> Bench {
        let state = State::open(folder).expect("an empty folder, or a state");
        let mut bench = Bench { state, next: 0, now: UnixMillis(1_000_000), longest: Duration::ZERO };
        bench.one(
            Bootstrap { cluster: ClusterId(1), group: GroupId(1), level: Level::NEWEST, handle_key: [7; 32] }.encode(),
        );
        bench
    }

    pub(crate) fn entry(&mut self, commands: &[EncodedCommand]) -> ApplyEntry {
        let mut batch = BatchBuilder::new();
        commands.iter().for_each(|command| batch.push(command));
        let id = LogId { term: Term(1), index: LogIndex(self.next) };
        self.next += 1;
        ApplyEntry { id, kind: ApplyKind::Command(batch.build(self.now)) }
    }

    /// Applies one entry of these commands in a call of its own.
    pub(crate) fn apply(&mut self, commands: &[EncodedCommand]) -> Vec<Outcome> {
        let entry = self.entry(commands);
        let begun = Instant::now();
        let responses = self.state.apply(vec![entry]).expect("the store works");
        self.longest = self.longest.max(begun.elapsed());
        outcomes(&responses[0]).expect("just made")
    }

    pub(crate) fn one(&mut self, command: EncodedCommand) -> Outcome {
        self.apply(&[command]).remove(0)
    }

    /// Applies many commands, and persists what they wrote.
    pub(crate) fn many(&mut self, commands: impl IntoIterator<Item = EncodedCommand>) -> Vec<Outcome> {
        let (mut all, mut waiting) = (Vec::new(), Vec::new());
        for command in commands {
            waiting.push(command);
            if waiting.len() == COMMANDS_PER_ENTRY {
                all.extend(self.apply(&waiting));
                waiting.clear();
            }
        }
        if !waiting.is_empty() {
            all.extend(self.apply(&waiting));
        }
        self.state.flush().expect("the store works");
        all
    }

    pub(crate) fn topic(&mut self, name: &str, queues: u32) -> TopicId {
        let settings = TopicSettings { queues, kind: TopicType::Normal };
        let name = TopicName::parse(name).expect("legal");
        let Outcome::Topic(topic) = self.one(CreateTopic { name, settings }.encode()) else { panic!("a topic") };
        topic.id().expect("just made")
    }

    pub(crate) fn group(&mut self, name: &str, max_attempts: u16) -> ConsumerGroupId {
        let settings = GroupSettings { max_attempts, ..GroupSettings::default() };
        let name = GroupName::parse(name).expect("legal");
        let create = CreateGroup { name, settings, automatic: false };
        let Outcome::Group(group) = self.one(create.encode()) else { panic!("a group") };
        group.id().expect("just made")
    }

    /// Receives what is there, until the group holds `count` messages; answers the last picks.
    pub(crate) fn receive(
        &mut self,
        topic: TopicId,
        group: ConsumerGroupId,
        count: u32,
        invisible_ms: u64,
    ) -> Vec<Pick> {
        let mut held = 0;
        loop {
            let receive = receive(topic, group, (count - held).min(1024), invisible_ms);
            let Outcome::Received(received) = self.one(receive.encode()) else { panic!("a receive") };
            held += u32::try_from(received.picks.len()).expect("few");
            assert!(!received.picks.is_empty(), "{count} messages are there, {held} were received");
            if held == count {
                return received.picks;
            }
        }
    }
}

/// A publish of so many small messages to one queue.
pub(crate) fn publish(topic: TopicId, queue: u32, messages: u32) -> EncodedCommand {
    let mut builder = PublishBuilder::new(topic, None);
    for _ in 0..messages {
        let (queue, group) = (QueueId(queue), MessageGroupKey::NONE);
        builder.push(&NewMessage { queue, group, tag: "", meta: b"some meta", body: &[7; 100] });
    }
    builder.finish()
}

pub(crate) fn receive(topic: TopicId, group: ConsumerGroupId, messages_max: u32, invisible_ms: u64) -> Receive {
    Receive {
        group,
        topic,
        queue: None,
        filter: TagFilter::All,
        messages_max: u16::try_from(messages_max).expect("few"),
        bytes_max: 1 << 20,
        invisible_ms,
        auto_renew: ClientKey::NONE,
        attempt: AttemptKey::NONE,
    }
}

/// What the process holds in memory, as the kernel counts it.
pub(crate) fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}
