//! How many messages one core applies per second. Bodies are small, because `apply` never touches them. Publishes are
//! measured in entries of many sizes; then one group receives and acknowledges everything.

use std::time::Instant;

use raft_log::StateMachine;
use tercet_broker::model::{ConsumerGroupId, MessageGroupKey, ProducerId, QueueId, TopicId};
use tercet_broker::state::{Ack, AckEntry, NewMessage, Outcome, ProducerStamp, PublishBuilder, Unsettled};

use crate::bench::{Bench, receive, resident_bytes};

const QUEUES: u32 = 4;
const MESSAGES: u32 = 1 << 20;
const PRODUCERS: u32 = 100_000;
const ENTRIES_PER_CALL: usize = 8;

impl Bench {
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
    fn publish_of_many(&mut self, topic: TopicId) {
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
        let receive = receive(topic, group, 32, 3_600_000);
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

pub(crate) fn run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut bench = Bench::new(folder.path());
    let (topic, group) = (bench.topic("bench", QUEUES), bench.group("bench", 16));
    for batch in [1, 16, 64, 256] {
        bench.publish(topic, batch, "", false);
    }
    bench.publish(topic, 64, "a-tag", false);
    bench.publish(topic, 64, "", true);
    bench.publish(topic, 1, "", true);
    bench.consume(topic, group);
}

pub(crate) fn producers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut bench = Bench::new(folder.path());
    let topic = bench.topic("bench", QUEUES);
    bench.publish_of_many(topic);
}
