//! Producers over a network that loses, delays and reorders, while others come and go, against a model of what each
//! answer may be.
//!
//! A lane works as the Rust client does: it numbers its messages, says which sequence is the lowest that it still
//! wants, and sends again what got no answer, even for longer than a client may. Requests are given up and epochs
//! begun. What is sent for the first time arrives soon or never, as between nodes. Then: no message is stored twice,
//! nothing that was given up is stored once its lane has told so, a FIFO lane keeps its order, and no answer refuses a
//! lane that was heard lately.

use std::collections::BTreeMap;

use proptest::prelude::*;
use raft_log::StateMachine;

use super::harness::{Rig, first_try};
use crate::model::{ProducerId, QueueId, QueueOffset, TopicId, TopicType};
use crate::state::apply_limits::{IDLE_MIN_MS, PRODUCERS_MAX};
use crate::state::{ProducerStamp, PublishRefusal, State, StoredAt, Unsettled};

/// Half of them FIFO.
const LANES: usize = 4;
const IN_FLIGHT_MAX: usize = 3;
/// A first try arrives within this, or never.
const ON_THE_WAY_MAX_MS: u64 = IDLE_MIN_MS / 2;

#[derive(Clone, Debug)]
enum Step {
    Send {
        lane: usize,
        count: u64,
    },
    /// A packet arrives; its answer may be lost.
    Arrive {
        packet: prop::sample::Index,
        answered: bool,
    },
    Lose {
        packet: prop::sample::Index,
    },
    /// A request that has no answer is sent again.
    Again {
        request: prop::sample::Index,
    },
    GiveUp {
        request: prop::sample::Index,
    },
    NewEpoch {
        lane: usize,
    },
    /// Others come, while the lanes are silent.
    Strangers {
        seconds: u64,
    },
    Pass {
        ms: u64,
    },
    Flush,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (0..LANES, 1..4u64).prop_map(|(lane, count)| Step::Send { lane, count }),
        12 => (index(), any::<bool>()).prop_map(|(packet, answered)| Step::Arrive { packet, answered }),
        1 => index().prop_map(|packet| Step::Lose { packet }),
        6 => index().prop_map(|request| Step::Again { request }),
        2 => index().prop_map(|request| Step::GiveUp { request }),
        1 => (0..LANES).prop_map(|lane| Step::NewEpoch { lane }),
        1 => (1..14u64).prop_map(|seconds| Step::Strangers { seconds }),
        2 => prop_oneof![3 => 0..1500u64, 1 => Just(600_000)].prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Flush),
        1 => Just(Step::Crash),
    ]
}

/// A message of a lane: its epoch and sequence.
type Number = (u64, u64);

#[derive(Debug)]
struct Lane {
    id: ProducerId,
    topic: TopicId,
    fifo: bool,
    epoch: u64,
    next: u64,
    stored: BTreeMap<Number, (QueueId, QueueOffset)>,
    /// What the lane has told to be over, in an accepted publish.
    over: Number,
    /// When it was last accepted, in served time.
    heard: Option<u64>,
    /// When the broker may have begun to know it, as a count of steps.
    known_since: usize,
}

#[derive(Clone, Debug)]
struct Request {
    lane: usize,
    epoch: u64,
    base: u64,
    count: u64,
    lowest: u64,
    sent: usize,
    wanted: bool,
}

#[derive(Clone, Debug)]
struct Packet {
    request: usize,
    again: bool,
    at: u64,
}

struct World {
    rig: Rig,
    lanes: Vec<Lane>,
    requests: Vec<Request>,
    packets: Vec<Packet>,
    strangers: u128,
    served: u64,
    steps: usize,
}

impl World {
    fn new() -> World {
        let mut rig = Rig::new();
        let normal = rig.topic("normal", 1, TopicType::Normal);
        let fifo = rig.topic("fifo", 1, TopicType::Fifo);
        let lane = |lane: usize| Lane {
            id: ProducerId(lane as u128),
            topic: if lane.is_multiple_of(2) { fifo } else { normal },
            fifo: lane.is_multiple_of(2),
            epoch: 1,
            next: 0,
            stored: BTreeMap::new(),
            over: (1, 0),
            heard: None,
            known_since: 0,
        };
        let lanes = (0..LANES).map(lane).collect();
        World { rig, lanes, requests: Vec::new(), packets: Vec::new(), strangers: 1000, served: 0, steps: 0 }
    }

    fn step(&mut self, step: &Step) {
        self.steps += 1;
        match step {
            Step::Send { lane, count } => self.send(*lane, *count),
            Step::Arrive { packet, answered } => {
                if let Some(packet) = self.take(packet) {
                    self.arrive(&packet, *answered);
                }
            }
            Step::Lose { packet } => {
                self.take(packet);
            }
            Step::Again { request } => {
                if let Some(request) = self.wanted(request) {
                    self.packets.push(Packet { request, again: true, at: self.rig.now });
                }
            }
            Step::GiveUp { request } => {
                if let Some(request) = self.wanted(request) {
                    self.requests[request].wanted = false;
                }
            }
            Step::NewEpoch { lane } => {
                self.requests.iter_mut().filter(|request| request.lane == *lane).for_each(|of| of.wanted = false);
                (self.lanes[*lane].epoch, self.lanes[*lane].next) = (self.lanes[*lane].epoch + 1, 0);
            }
            Step::Strangers { seconds } => (0..*seconds).for_each(|_| self.strangers()),
            Step::Pass { ms } => self.rig.now += ms,
            Step::Flush => self.rig.state().flush().unwrap(),
            Step::Crash => {
                let digest = self.rig.digest();
                self.rig.crash_and_replay();
                assert_eq!(self.rig.digest(), digest, "replay after a crash ends in the same state");
            }
        }
    }

    /// The clock of the state moves with the next entry.
    fn entry_comes(&mut self) {
        let clock = self.rig.reader().clock().0;
        self.served += self.rig.now.saturating_sub(clock).min(1000);
    }

    fn strangers(&mut self) {
        self.rig.now += 1000;
        for _ in 0..PRODUCERS_MAX / 8 {
            self.entry_comes();
            let outcome = self.rig.try_publish(self.lanes[1].topic, first_try(self.strangers, 0, 0), &[(0, "", "")]);
            match outcome {
                Ok(_) => self.strangers += 1,
                Err(refusal) => assert_eq!(refusal, PublishRefusal::TooManyProducers { first_try: true }),
            }
        }
    }

    fn send(&mut self, lane: usize, count: u64) {
        let of = &mut self.lanes[lane];
        let in_flight: Vec<u64> =
            self.requests.iter().filter(|other| other.lane == lane && other.wanted).map(|other| other.base).collect();
        if in_flight.len() >= if of.fifo { 1 } else { IN_FLIGHT_MAX } {
            return;
        }
        let (epoch, base) = (of.epoch, of.next);
        of.next += count;
        let lowest = in_flight.into_iter().min().unwrap_or(base);
        self.packets.push(Packet { request: self.requests.len(), again: false, at: self.rig.now });
        self.requests.push(Request { lane, epoch, base, count, lowest, sent: self.steps, wanted: true });
    }

    fn wanted(&self, index: &prop::sample::Index) -> Option<usize> {
        let wanted: Vec<_> = (0..self.requests.len()).filter(|at| self.requests[*at].wanted).collect();
        (!wanted.is_empty()).then(|| *index.get(&wanted))
    }

    fn take(&mut self, index: &prop::sample::Index) -> Option<Packet> {
        let now = self.rig.now;
        self.packets.retain(|packet| packet.again || now - packet.at <= ON_THE_WAY_MAX_MS);
        (!self.packets.is_empty()).then(|| self.packets.swap_remove(index.index(self.packets.len())))
    }

    fn arrive(&mut self, packet: &Packet, answered: bool) {
        let request = self.requests[packet.request].clone();
        let lane = &self.lanes[request.lane];
        let unsettled = Some(Unsettled { lowest: request.lowest, again: packet.again });
        let stamp = ProducerStamp { id: lane.id, epoch: request.epoch, base_sequence: request.base, unsettled };
        let messages = vec![(0, "", "k"); request.count as usize];
        let topic = lane.topic;
        self.entry_comes();
        match self.rig.try_publish(topic, Some(stamp), &messages) {
            Ok(stored) => self.stored(&request, &stored),
            Err(refusal) => self.refused(&request, packet.again, refusal),
        }
        if answered {
            self.requests[packet.request].wanted = false;
        }
    }

    fn is_live(&self, lane: &Lane) -> bool {
        lane.heard.is_some_and(|heard| self.served - heard < IDLE_MIN_MS)
    }

    fn stored(&mut self, request: &Request, stored: &[StoredAt]) {
        let was_live = self.is_live(&self.lanes[request.lane]);
        let (served, steps) = (self.served, self.steps);
        let lane = &mut self.lanes[request.lane];
        for (sequence, at) in (request.base..).zip(stored) {
            let number = (request.epoch, sequence);
            if at.repeated {
                assert_eq!(lane.stored.get(&number), Some(&(at.queue, at.offset)), "{number:?} has its first place");
                continue;
            }
            assert!(number >= lane.over, "{number:?} of {lane:?} was over");
            let last = lane.stored.last_key_value().map(|(number, _)| *number);
            assert!(!lane.fifo || last.is_none_or(|last| last < number), "{number:?} came after {last:?}");
            let before = lane.stored.insert(number, (at.queue, at.offset));
            assert_eq!(before, None, "{number:?} was stored twice");
        }
        if !was_live || lane.over.0 < request.epoch {
            lane.known_since = steps;
        }
        lane.heard = Some(served);
        lane.over = lane.over.max((request.epoch, request.lowest));
    }

    /// Which refusals a lane may meet: none while it lives, but for what is over.
    fn refused(&self, request: &Request, again: bool, refusal: PublishRefusal) {
        let lane = &self.lanes[request.lane];
        let live = self.is_live(lane);
        let is_fair = match refusal {
            PublishRefusal::BelowWindow { .. } => !request.wanted,
            PublishRefusal::OldEpoch { .. } => request.epoch < lane.epoch,
            // Of an epoch that nothing is known of nothing is live.
            PublishRefusal::UnknownProducer => {
                again && (!live || lane.over.0 < request.epoch || request.sent <= lane.known_since)
            }
            PublishRefusal::TooManyProducers { first_try } => first_try && !again && !live,
            _ => false,
        };
        assert!(is_fair, "{refusal:?} to {request:?}, again {again}, live {live}, of {lane:?}");
    }

    /// What is in the topics is what was told.
    fn finish(self) {
        let strangers = (self.strangers - 1000) as u64;
        for (topic, others) in [(self.lanes[0].topic, 0), (self.lanes[1].topic, strangers)] {
            let told = self.lanes.iter().filter(|lane| lane.topic == topic).map(|lane| lane.stored.len() as u64);
            let told = told.sum::<u64>() + others;
            assert_eq!(self.rig.reader().queue_bounds(topic).unwrap()[0].next.0, told);
        }
        assert!(self.rig.reader().producers().count <= PRODUCERS_MAX);
        let folder = tempfile::tempdir().unwrap();
        let mut other = State::open(folder.path()).unwrap();
        other.apply(self.rig.log.clone()).unwrap();
        assert_eq!(other.reader().digest(), self.rig.reader().digest(), "however entries are grouped");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// hazards 16.
    #[test]
    fn nothing_is_stored_twice_nothing_over_is_stored_and_no_live_producer_is_refused(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        world.finish();
    }
}
