//! How many messages one core applies per second: `cargo run --release -p tercet-broker --example apply_bench`.
//!
//! Bodies are small, because `apply` never touches them. Publishes are measured in entries of many sizes; then one group
//! receives and acknowledges everything. With the argument `producers`, only the memory of many producers is measured.

use std::time::Instant;

use raft_log::types::{LogId, LogIndex, Term, UnixMillis};
use raft_log::{ApplyEntry, ApplyKind, StateMachine};
use tercet_broker::model::{
    AttemptKey, ClientKey, ConsumerGroupId, GroupName, GroupSettings, MessageGroupKey, ProducerId, QueueId, TagFilter,
    TopicId, TopicName, TopicSettings, TopicType,
};
use tercet_broker::state::{
    Ack, AckEntry, BatchBuilder, CreateGroup, CreateTopic, EncodedCommand, NewMessage, Outcome, ProducerStamp,
    PublishBuilder, Receive, State, Unsettled, outcomes,
};

const QUEUES: u32 = 4;
const MESSAGES: u32 = 1 << 20;
const PRODUCERS: u32 = 100_000;
const ENTRIES_PER_CALL: usize = 8;

struct Bench {
    state: State,
    next: u64,
}

impl Bench {
    fn entry(&mut self, commands: &[EncodedCommand]) -> ApplyEntry {
        let mut batch = BatchBuilder::new();
        commands.iter().for_each(|command| batch.push(command));
        let id = LogId { term: Term(1), index: LogIndex(self.next) };
        self.next += 1;
        ApplyEntry { id, kind: ApplyKind::Command(batch.build(UnixMillis(1_000_000 + self.next))) }
    }

    fn one(&mut self, command: EncodedCommand) -> Outcome {
        let entry = self.entry(&[command]);
        let responses = self.state.apply(vec![entry]).expect("the store works");
        outcomes(&responses[0]).expect("just made").remove(0)
    }

    /// Publishes `MESSAGES` messages, in commands of `batch` and entries of 64 KiB or one command.
    fn publish(&mut self, topic: TopicId, batch: u32, tag: &str, idempotent: bool) {
        let mut entries = Vec::new();
        let mut sequence = 0;
        let per_entry = (64 / batch).max(1);
        while sequence < MESSAGES {
            let mut commands = Vec::new();
            for _ in 0..per_entry {
                let base_sequence = u64::from(sequence);
                let id = ProducerId(u128::from(batch));
                let unsettled = Some(Unsettled { lowest: base_sequence, again: false });
                let producer = idempotent.then_some(ProducerStamp { id, epoch: 1, base_sequence, unsettled });
                let mut builder = PublishBuilder::new(topic, producer);
                for _ in 0..batch {
                    let (queue, group) = (QueueId((sequence / batch) % QUEUES), MessageGroupKey::NONE);
                    builder.push(&NewMessage { queue, group, tag, meta: b"some meta", body: &[7; 100] });
                    sequence += 1;
                }
                commands.push(builder.finish());
            }
            entries.push(self.entry(&commands));
        }
        let begin = Instant::now();
        for call in entries.chunks(ENTRIES_PER_CALL) {
            self.state.apply(call.to_vec()).expect("the store works");
        }
        let rate = f64::from(sequence) / begin.elapsed().as_secs_f64();
        println!("publish, {batch:>4} a command, tag {tag:?}, idempotent {idempotent:<5}: {rate:>10.0} messages/s");
        self.state.flush().expect("the store works");
    }

    /// `PRODUCERS` producers publish a message each, and all of them again: none is refused, and what they hold is told.
    fn producers(&mut self, topic: TopicId) {
        let resident = resident_bytes();
        let begin = Instant::now();
        for round in 0..2 {
            for id in 0..PRODUCERS {
                let unsettled = Some(Unsettled { lowest: round, again: false });
                let id = ProducerId((u128::from(id) << 96) + 1);
                let stamp = ProducerStamp { id, epoch: 1, base_sequence: round, unsettled };
                let mut builder = PublishBuilder::new(topic, Some(stamp));
                let (queue, group) = (QueueId(0), MessageGroupKey::NONE);
                builder.push(&NewMessage { queue, group, tag: "", meta: b"some meta", body: &[7; 100] });
                let outcome = self.one(builder.finish());
                assert!(matches!(outcome, Outcome::Stored(_)), "{outcome:?}");
            }
        }
        let rate = 2.0 * f64::from(PRODUCERS) / begin.elapsed().as_secs_f64();
        self.state.flush().expect("the store works");
        let known = self.state.reader().producers();
        println!(
            "{} producers, one a command, one entry each: {rate:>10.0} messages/s; results {} KiB, resident {} KiB more",
            known.count,
            known.results_bytes >> 10,
            resident_bytes().saturating_sub(resident) >> 10
        );
    }

    fn consume(&mut self, topic: TopicId, group: ConsumerGroupId) {
        let receive = Receive {
            group,
            topic,
            queue: None,
            filter: TagFilter::All,
            messages_max: 32,
            bytes_max: 1 << 20,
            invisible_ms: 3_600_000,
            auto_renew: ClientKey::NONE,
            attempt: AttemptKey::NONE,
        };
        let (mut count, begin) = (0u32, Instant::now());
        while count < MESSAGES {
            let Outcome::Received(received) = self.one(receive.encode()) else { panic!("a receive") };
            let entries: Vec<_> = received
                .picks
                .iter()
                .map(|pick| AckEntry {
                    queue: pick.queue,
                    offset: pick.offset,
                    nonce: pick.nonce,
                    deadline: pick.deadline,
                })
                .collect();
            assert!(!entries.is_empty(), "there are messages left");
            count += entries.len() as u32;
            self.one(Ack { group, topic, entries }.encode());
        }
        let rate = f64::from(count) / begin.elapsed().as_secs_f64();
        println!("receive and ack, 32 a command, one entry each: {rate:>10.0} messages/s");
    }
}

/// What the process holds in memory, as the kernel counts it.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = State::open(folder.path()).expect("an empty folder");
    let mut bench = Bench { state, next: 0 };
    let settings = TopicSettings { queues: QUEUES, kind: TopicType::Normal };
    let name = TopicName::parse("bench").expect("legal");
    let Outcome::Topic(topic) = bench.one(CreateTopic { name, settings }.encode()) else { panic!("a topic") };
    let topic = topic.id().expect("just made");
    let name = GroupName::parse("bench").expect("legal");
    let create = CreateGroup { name, settings: GroupSettings::default(), automatic: false };
    let Outcome::Group(group) = bench.one(create.encode()) else { panic!("a group") };
    if std::env::args().nth(1).as_deref() == Some("producers") {
        return bench.producers(topic);
    }
    for batch in [1, 16, 64, 256] {
        bench.publish(topic, batch, "", false);
    }
    bench.publish(topic, 64, "a-tag", false);
    bench.publish(topic, 64, "", true);
    bench.publish(topic, 1, "", true);
    bench.producers(topic);
    bench.consume(topic, group.id().expect("just made"));
}
