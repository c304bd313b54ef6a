//! Random commands against a simple model of what a group may and must get.
//!
//! The model does not predict which messages a receive picks; it says which ones it may pick, which ones it must not
//! leave out, and what every handle is worth. Entries hold one to three commands, the node crashes at any point, and in
//! the end a second state that applied the same entries in other groups must be equal (hazards 17, 18).

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use raft_log::StateMachine;

use raft_log::types::LogIndex;

use super::harness::{Rig, handle, publish, receive, tags};
use crate::model::{ConsumerGroupId, GroupChange, GroupName, GroupSettings, QueueId, TopicId, TopicType};
use crate::state::{
    Ack, AckEntry, ChangeInvisible, DeadLetter, Deleted, EncodedCommand, FlushTriggers, Holder, NeededBody, Outcome,
    Pick, Received, Settled, State, StateReader, StoredAt, UpdateGroup, tick,
};

const QUEUES: u32 = 2;
const ATTEMPTS_MAX: u16 = 3;
const TAGS: [&str; 3] = ["", "red", "blue"];
const KEYS: [&str; 4] = ["", "a", "b", "c"];

#[derive(Clone, Debug)]
enum Op {
    Publish(Vec<(u32, usize, usize)>),
    Receive {
        group: usize,
        max: u16,
        tag: Option<usize>,
        invisible_ms: u64,
    },
    Ack {
        group: usize,
        handle: prop::sample::Index,
    },
    Change {
        group: usize,
        handle: prop::sample::Index,
        invisible_ms: u64,
        suspend: bool,
    },
    GiveUp {
        group: usize,
        handle: prop::sample::Index,
    },
    Update {
        group: usize,
        fifo: Option<bool>,
        attempts_max: Option<u16>,
    },
    /// Deletes the group, with its dead letters or without, and makes it anew.
    RemakeGroup {
        group: usize,
        letters: bool,
    },
    /// Deletes the topic and makes it anew.
    RemakeTopic,
    /// Erases some of what was deleted, and starts again from what the store holds then.
    Erase {
        records: u32,
        restart: bool,
    },
    /// Acknowledges with a handle of what was deleted.
    StaleAck {
        handle: prop::sample::Index,
    },
}

impl Op {
    /// Whether the model must have followed it before the next command is made.
    fn stands_alone(&self) -> bool {
        matches!(self, Op::RemakeGroup { .. } | Op::RemakeTopic | Op::Erase { .. } | Op::StaleAck { .. })
    }
}

#[derive(Clone, Debug)]
enum Step {
    Entry {
        pass_ms: u64,
        ops: Vec<Op>,
    },
    Flush,
    Crash,
    /// Retention wants the start so far along the log, in percent.
    Retain(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let message = (0..QUEUES, 0..TAGS.len(), 0..KEYS.len());
    let delay = prop_oneof![Just(0), 1..50u64, 100..1000u64];
    prop_oneof![
        3 => prop::collection::vec(message, 1..6).prop_map(Op::Publish),
        5 => (0..2usize, 1..6u16, prop::option::weighted(0.2, 0..TAGS.len()), 1..200u64)
            .prop_map(|(group, max, tag, invisible_ms)| Op::Receive { group, max, tag, invisible_ms }),
        4 => (0..2usize, any::<prop::sample::Index>()).prop_map(|(group, handle)| Op::Ack { group, handle }),
        2 => (0..2usize, any::<prop::sample::Index>(), delay, any::<bool>()).prop_map(
            |(group, handle, invisible_ms, suspend)| Op::Change { group, handle, invisible_ms, suspend }
        ),
        1 => (0..2usize, any::<prop::sample::Index>()).prop_map(|(group, handle)| Op::GiveUp { group, handle }),
        1 => (0..2usize, any::<Option<bool>>(), prop::option::of(1..5u16))
            .prop_map(|(group, fifo, attempts_max)| Op::Update { group, fifo, attempts_max }),
        1 => (0..2usize, any::<bool>()).prop_map(|(group, letters)| Op::RemakeGroup { group, letters }),
        1 => Just(Op::RemakeTopic),
        1 => (1..6u32, any::<bool>()).prop_map(|(records, restart)| Op::Erase { records, restart }),
        1 => any::<prop::sample::Index>().prop_map(|handle| Op::StaleAck { handle }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (prop_oneof![2 => Just(0), 3 => 1..60u64], prop::collection::vec(op(), 0..4))
            .prop_map(|(pass_ms, ops)| Step::Entry { pass_ms, ops }),
        1 => Just(Step::Flush),
        1 => Just(Step::Crash),
        1 => prop_oneof![1..100usize, Just(100)].prop_map(Step::Retain),
    ]
}

/// A message as one group sees it.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    done: bool,
    dead: bool,
    attempt: u16,
    /// The last delivery is over, and the message was not given up.
    over: bool,
    suspended: bool,
    deadline: u64,
    nonce: u64,
    /// Its body was moved while it waited for its next delivery.
    moved: bool,
}

type At = (u32, u64);

#[derive(Debug)]
struct GroupModel {
    id: ConsumerGroupId,
    name: &'static str,
    fifo: bool,
    attempts_max: u16,
    messages: BTreeMap<At, Seen>,
    handles: Vec<AckEntry>,
    /// Dead letters of messages and of groups of this name that are not there any more.
    letters_before: u64,
}

struct Model {
    topic: TopicId,
    clock: u64,
    /// Tag and key of each message.
    published: BTreeMap<At, (usize, usize)>,
    /// The entry that published it, and the last one.
    entries: BTreeMap<At, u64>,
    entry: u64,
    groups: [GroupModel; 2],
    /// Handles of what was deleted, with their topics and groups.
    stale: Vec<(TopicId, ConsumerGroupId, AckEntry)>,
}

impl GroupModel {
    fn hidden(&self, at: At, clock: u64) -> bool {
        let seen = self.messages[&at];
        !seen.done && seen.attempt > 0 && seen.deadline > clock
    }

    /// What has no attempts left goes to the dead letters when its delivery ends, by the settings of that moment.
    fn bury(&mut self, clock: u64) {
        for seen in self.messages.values_mut().filter(|seen| !seen.done && !seen.over && seen.attempt > 0) {
            if seen.deadline <= clock {
                seen.over = true;
                let dead = seen.attempt >= self.attempts_max && !seen.suspended;
                (seen.done, seen.dead) = (dead, dead);
            }
        }
    }

    fn lane(&self, published: &BTreeMap<At, (usize, usize)>, at: At) -> Vec<At> {
        let key = published[&at].1;
        if !self.fifo || key == 0 {
            return vec![at];
        }
        let same = published.iter().filter(|(other, (_, of))| other.0 == at.0 && *of == key).map(|(other, _)| *other);
        same.filter(|other| !self.messages[other].done).collect()
    }

    /// Dead letters under this group's name.
    fn letters(&self) -> u64 {
        self.letters_before + self.messages.values().filter(|seen| seen.dead).count() as u64
    }

    /// What a handle is worth.
    fn worth(&self, entry: &AckEntry, clock: u64) -> Settled {
        let at = (entry.queue.0, entry.offset.0);
        let seen = self.messages[&at];
        if seen.done {
            return if entry.deadline.0 > clock { Settled::Already } else { Settled::Expired };
        }
        if self.hidden(at, clock) && seen.nonce == entry.nonce { Settled::Done } else { Settled::Expired }
    }
}

impl Model {
    fn new(rig: &mut Rig) -> Model {
        let topic = rig.topic("t", QUEUES, TopicType::Fifo);
        let mut group = |name, fifo| {
            let settings = GroupSettings { fifo, max_attempts: ATTEMPTS_MAX, ..GroupSettings::default() };
            let (id, attempts_max) = (rig.group(name, settings), ATTEMPTS_MAX);
            let (messages, handles) = (BTreeMap::new(), Vec::new());
            GroupModel { id, name, fifo, attempts_max, messages, handles, letters_before: 0 }
        };
        let groups = [group("normal", false), group("fifo", true)];
        Model {
            topic,
            clock: 0,
            published: BTreeMap::new(),
            entries: BTreeMap::new(),
            entry: 0,
            groups,
            stale: Vec::new(),
        }
    }

    /// The delivery that an op names.
    fn named(&self, op: &Op) -> Option<AckEntry> {
        match op {
            Op::Ack { group, handle } | Op::Change { group, handle, .. } | Op::GiveUp { group, handle } => {
                self.entry_for(*group, *handle)
            }
            _ => None,
        }
    }

    fn entry_for(&self, group: usize, index: prop::sample::Index) -> Option<AckEntry> {
        let handles = &self.groups[group].handles;
        if handles.is_empty() { None } else { Some(*index.get(handles)) }
    }

    /// The command of an op, if there is one yet.
    fn command(&self, op: &Op) -> Option<EncodedCommand> {
        let topic = self.topic;
        Some(match op {
            Op::Publish(messages) => {
                let messages: Vec<_> =
                    messages.iter().map(|(queue, tag, key)| (*queue, TAGS[*tag], KEYS[*key])).collect();
                publish(topic, None, &messages)
            }
            Op::Receive { group, max, tag, invisible_ms } => {
                let mut request = receive(self.groups[*group].id, topic, *max);
                request.invisible_ms = *invisible_ms;
                if let Some(tag) = tag {
                    request.filter = tags(&[TAGS[*tag]]);
                }
                request.encode()
            }
            Op::Ack { group, handle } => {
                let entries = vec![self.entry_for(*group, *handle)?];
                Ack { group: self.groups[*group].id, topic, entries }.encode()
            }
            Op::Change { group, handle, invisible_ms, suspend } => {
                let entry = self.entry_for(*group, *handle)?;
                let (group, invisible_ms, suspend) = (self.groups[*group].id, *invisible_ms, *suspend);
                ChangeInvisible { group, topic, entry, invisible_ms, suspend }.encode()
            }
            Op::GiveUp { group, handle } => {
                let entry = self.entry_for(*group, *handle)?;
                DeadLetter { group: self.groups[*group].id, topic, entry }.encode()
            }
            Op::Update { group, fifo, attempts_max } => {
                let name = GroupName::parse(self.groups[*group].name).unwrap();
                UpdateGroup { name, change: GroupChange { fifo: *fifo, max_attempts: *attempts_max, start: None } }
                    .encode()
            }
            alone => panic!("{alone:?} is no single command"),
        })
    }

    /// Checks an outcome and follows it. `entry` is what the command named.
    fn follow(&mut self, op: &Op, entry: Option<AckEntry>, outcome: &Outcome, reader: &StateReader) {
        let clock = self.clock;
        self.groups.iter_mut().for_each(|group| group.bury(clock));
        match (op, outcome) {
            (Op::Publish(messages), Outcome::Stored(stored)) => self.published(messages, stored),
            (Op::Receive { group, max, tag, .. }, Outcome::Received(received)) => {
                self.consume_unwanted(*group, *tag, reader);
                self.received(*group, *max, *tag, received);
            }
            (Op::Ack { group, .. }, Outcome::Acked(settled)) => {
                let entry = entry.unwrap();
                let group = &mut self.groups[*group];
                assert_eq!(settled, &[group.worth(&entry, clock)], "{entry:?}");
                if settled[0] == Settled::Done {
                    group.messages.get_mut(&(entry.queue.0, entry.offset.0)).unwrap().done = true;
                }
            }
            (Op::Change { group, invisible_ms, suspend, .. }, Outcome::Changed(changed)) => {
                let entry = entry.unwrap();
                let group = &mut self.groups[*group];
                let worth = group.worth(&entry, clock);
                assert_eq!(changed.err().unwrap_or(Settled::Done), worth, "{entry:?}");
                if worth == Settled::Done {
                    let seen = group.messages.get_mut(&(entry.queue.0, entry.offset.0)).unwrap();
                    (seen.deadline, seen.suspended) = (clock + invisible_ms, *suspend);
                    assert_eq!(changed.unwrap().0, seen.deadline);
                }
            }
            (Op::GiveUp { group, .. }, Outcome::DeadLettered(settled)) => {
                let entry = entry.unwrap();
                let group = &mut self.groups[*group];
                assert_eq!(*settled, group.worth(&entry, clock), "{entry:?}");
                if *settled == Settled::Done {
                    let seen = group.messages.get_mut(&(entry.queue.0, entry.offset.0)).unwrap();
                    (seen.done, seen.dead) = (true, true);
                }
            }
            (Op::Update { group, fifo, attempts_max }, Outcome::GroupUpdated(settings)) => {
                let group = &mut self.groups[*group];
                group.fifo = fifo.unwrap_or(group.fifo);
                group.attempts_max = attempts_max.unwrap_or(group.attempts_max);
                assert_eq!((settings.fifo, settings.max_attempts), (group.fifo, group.attempts_max));
            }
            other => panic!("{other:?}"),
        }
        self.groups.iter_mut().for_each(|group| group.bury(clock));
    }

    /// Does what is more than one command, or needs the state before and after.
    fn alone(&mut self, rig: &mut Rig, op: &Op) {
        rig.pass(0);
        self.clock = rig.now;
        self.bury();
        match op {
            Op::RemakeGroup { group, letters } => self.remake_group(rig, *group, *letters),
            Op::RemakeTopic => self.remake_topic(rig),
            Op::Erase { records, restart } => {
                rig.erase(*records);
                if *restart {
                    rig.state().flush().unwrap();
                    let before = (rig.digest(), rig.reader().next_due());
                    rig.crash_and_replay();
                    assert_eq!((rig.digest(), rig.reader().next_due()), before);
                }
            }
            Op::StaleAck { handle } if !self.stale.is_empty() => {
                let (topic, group, entry) = *handle.get(&self.stale);
                let outcome = rig.one(&Ack { group, topic, entries: vec![entry] }.encode());
                assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
            }
            Op::StaleAck { .. } => {}
            single => panic!("{single:?} is a single command"),
        }
    }

    fn bury(&mut self) {
        let clock = self.clock;
        self.groups.iter_mut().for_each(|group| group.bury(clock));
    }

    fn remake_group(&mut self, rig: &mut Rig, group: usize, letters: bool) {
        let topic = self.topic;
        let group = &mut self.groups[group];
        let view = rig.reader().group_by_id(group.id).unwrap();
        assert_eq!(rig.delete_group(group.id, letters, 1000), Deleted::Done);
        let before = std::mem::replace(&mut group.id, rig.group(view.name.as_str(), view.settings));
        assert!(group.id > before);
        self.stale.extend(group.handles.drain(..).map(|entry| (topic, before, entry)));
        group.letters_before = if letters { 0 } else { group.letters() };
        // It begins at the first message that is there again.
        let start = rig.state().needed_from().0;
        let entries = &self.entries;
        let anew = |at: &At| (*at, Seen { done: entries[at] < start, ..Seen::default() });
        group.messages = self.published.keys().map(anew).collect();
    }

    fn remake_topic(&mut self, rig: &mut Rig) {
        assert_eq!(rig.delete_topic(self.topic), Deleted::Done);
        let before = std::mem::replace(&mut self.topic, rig.topic("t", QUEUES, TopicType::Fifo));
        assert!(self.topic > before);
        self.published.clear();
        self.entries.clear();
        for group in &mut self.groups {
            self.stale.extend(group.handles.drain(..).map(|entry| (before, group.id, entry)));
            group.letters_before = group.letters();
            group.messages.clear();
        }
    }

    fn published(&mut self, messages: &[(u32, usize, usize)], stored: &[StoredAt]) {
        for ((queue, tag, key), stored) in messages.iter().zip(stored) {
            let next = self.published.range((*queue, 0)..(*queue + 1, 0)).count() as u64;
            assert_eq!((stored.queue.0, stored.offset.0), (*queue, next), "offsets are dense");
            self.published.insert((*queue, next), (*tag, *key));
            self.entries.insert((*queue, next), self.entry);
            self.groups.iter_mut().for_each(|group| {
                group.messages.insert((*queue, next), Seen::default());
            });
        }
    }

    fn received(&mut self, group: usize, max: u16, tag: Option<usize>, received: &Received) {
        assert!(received.picks.len() <= usize::from(max) && !received.more);
        let clock = self.clock;
        let before: BTreeSet<At> =
            self.published.keys().copied().filter(|at| self.groups[group].hidden(*at, clock)).collect();
        for pick in &received.picks {
            self.picked(group, tag, &before, pick);
        }
        if received.picks.len() < usize::from(max) {
            self.assert_nothing_left(group, tag);
        }
    }

    /// A filtered receive is done with what it looked at and did not want. How far it looked is its own choice, so the
    /// model asks, but only about messages that it may have consumed.
    fn consume_unwanted(&mut self, group: usize, tag: Option<usize>, reader: &StateReader) {
        let Some(tag) = tag else { return };
        let (clock, topic) = (self.clock, self.topic);
        let group = &mut self.groups[group];
        for (at, _) in self.published.iter().filter(|(_, (of, _))| *of != tag) {
            // What was delivered once comes again, whatever is asked for.
            if group.messages[at].attempt == 0
                && !group.hidden(*at, clock)
                && reader.is_done(group.id, topic, QueueId(at.0), at.1)
            {
                group.messages.get_mut(at).unwrap().done = true;
            }
        }
    }

    fn picked(&mut self, group: usize, tag: Option<usize>, hidden_before: &BTreeSet<At>, pick: &Pick) {
        let at = (pick.queue.0, pick.offset.0);
        let (of, _) = self.published[&at];
        let wanted = tag.is_none_or(|tag| tag == of) || self.groups[group].messages[&at].attempt > 0;
        assert!(wanted, "{at:?} has an unwanted tag");
        let lane = self.groups[group].lane(&self.published, at);
        assert!(!lane.iter().any(|other| hidden_before.contains(other)), "{at:?}: its message group is under way");
        let clock = self.clock;
        let group = &mut self.groups[group];
        let earlier = lane.iter().take_while(|other| **other < at);
        for other in earlier {
            assert!(group.hidden(*other, clock), "{at:?} came before {other:?} of its message group");
        }
        let seen = group.messages.get_mut(&at).unwrap();
        assert!(!seen.done, "{at:?} was done with");
        assert_eq!(pick.attempt, if seen.suspended { seen.attempt } else { seen.attempt + 1 }, "attempt of {at:?}");
        (seen.attempt, seen.suspended, seen.over, seen.moved) = (pick.attempt, false, false, false);
        (seen.deadline, seen.nonce) = (pick.deadline.0, pick.nonce);
        assert!(seen.deadline > clock);
        group.handles.push(handle(pick));
    }

    fn assert_nothing_left(&self, group: usize, tag: Option<usize>) {
        let group = &self.groups[group];
        for (at, seen) in group.messages.iter().filter(|(_, seen)| !seen.done) {
            let lane = group.lane(&self.published, *at);
            let blocked = lane.iter().any(|other| group.hidden(*other, self.clock));
            let wanted = tag.is_none_or(|tag| self.published[at].0 == tag) || seen.attempt > 0;
            assert!(blocked || !wanted, "{at:?} was left out: {seen:?}");
        }
    }
}

impl Model {
    /// What a relocation does: who waits for a second time has had its time.
    fn relocating(&mut self, bodies: &[NeededBody], reader: &StateReader) {
        for holder in bodies.iter().flat_map(|body| &body.holders) {
            let Holder::Delivery(key) = *holder else { continue };
            let clock = self.clock;
            let Some(group) = self.groups.iter_mut().find(|group| group.id == key.group) else { continue };
            let at = (key.queue.0, key.offset);
            assert!(reader.is_pending(group.id, key.topic, key.queue, key.offset));
            if !group.hidden(at, clock) {
                let seen = group.messages.get_mut(&at).unwrap();
                (seen.done, seen.moved) = (seen.moved, true);
            }
        }
    }

    /// What was never taken and lies below the start is gone.
    fn trimmed(&mut self, start: LogIndex, reader: &StateReader) {
        for group in &mut self.groups {
            for (at, seen) in group.messages.iter_mut().filter(|(_, seen)| !seen.done) {
                let pending = reader.is_pending(group.id, self.topic, QueueId(at.0), at.1);
                if seen.attempt > 0 {
                    assert!(pending, "{at:?} was taken and is lost");
                } else if self.entries[at] < start.0 && !pending {
                    seen.done = true;
                }
            }
        }
    }
}

fn retain(rig: &mut Rig, model: &mut Model, percent: usize) {
    let to = LogIndex((rig.log.len() * percent / 100) as u64).max(rig.state().needed_from());
    // What was deleted holds the log until it is erased, which a leader does at once.
    rig.erase_all(7);
    rig.one(&tick());
    model.clock = rig.now;
    let clock = model.clock;
    model.groups.iter_mut().for_each(|group| group.bury(clock));
    rig.retain(to, |rig, bodies| model.relocating(bodies, &rig.reader()));
    model.trimmed(to, &rig.reader());
}

/// Runs the steps; the model follows each outcome.
fn run(steps: &[Step]) -> (Rig, Model) {
    let mut rig = Rig::new();
    let mut model = Model::new(&mut rig);
    model.clock = rig.now;
    for step in steps {
        match step {
            Step::Flush => rig.state().flush().unwrap(),
            Step::Retain(percent) => retain(&mut rig, &mut model, *percent),
            Step::Crash => {
                let digest = rig.digest();
                rig.crash_and_replay();
                assert_eq!(rig.digest(), digest, "replay after a crash ends in the same state");
            }
            Step::Entry { pass_ms, ops } => {
                rig.now += pass_ms;
                run_entry(&mut rig, &mut model, ops);
            }
        }
    }
    (rig, model)
}

fn run_entry(rig: &mut Rig, model: &mut Model, ops: &[Op]) {
    // The model looks at the state after each receive, so commands follow one another in one entry only up to there.
    let mut left = ops;
    while !left.is_empty() {
        if left[0].stands_alone() {
            model.alone(rig, &left[0]);
            left = &left[1..];
            continue;
        }
        let until = left.iter().position(|op| matches!(op, Op::Receive { .. })).map_or(left.len(), |at| at + 1);
        let until = left[..until].iter().position(Op::stands_alone).unwrap_or(until);
        let (now, later) = left.split_at(until);
        let known: Vec<_> = now.iter().filter_map(|op| Some((op, model.command(op)?, model.named(op)))).collect();
        // A tick first, as a leader proposes one when something is due: so the model's time is the state's.
        let ticked = std::iter::once(tick());
        let commands: Vec<_> = ticked.chain(known.iter().map(|(_, command, _)| command.clone())).collect();
        let outcomes = rig.apply(&commands);
        model.clock = rig.now;
        model.entry = rig.log.len() as u64 - 1;
        let reader = rig.reader();
        for ((op, _, named), outcome) in known.iter().zip(&outcomes[1..]) {
            model.follow(op, *named, outcome, &reader);
        }
        left = later;
    }
}

/// Everything that is left is received and acknowledged: nothing was lost, and the dead letters are those that the
/// model buried. What was deleted is erased in between.
fn drain(rig: &mut Rig, model: &mut Model) {
    let mut written = Vec::new();
    for group in 0..model.groups.len() {
        for _ in 0..10_000 {
            rig.pass(1000);
            rig.erase(2);
            model.clock = rig.now;
            let now = model.clock;
            model.groups.iter_mut().for_each(|group| group.bury(now));
            let (id, topic) = (model.groups[group].id, model.topic);
            let received = rig.received(&receive(id, topic, 5));
            model.received(group, 5, None, &received);
            if received.picks.is_empty() {
                break;
            }
            for pick in received.picks {
                let (tag, key) = model.published[&(pick.queue.0, pick.offset.0)];
                let body = format!("{}/{}/{}", pick.queue.0, TAGS[tag], KEYS[key]);
                assert_eq!(rig.message(&pick).body, body, "wherever its body was moved to");
                assert_eq!(rig.ack(id, topic, &[pick]), [Settled::Done]);
                model.groups[group].messages.get_mut(&(pick.queue.0, pick.offset.0)).unwrap().done = true;
            }
        }
        let group = &model.groups[group];
        assert!(group.messages.values().all(|seen| seen.done), "everything was delivered");
        for queue in rig.reader().progress(group.id, model.topic).unwrap() {
            assert_eq!((queue.lag(), queue.offset), (0, queue.end));
        }
        let dead = group.letters();
        let name = rig.reader().group_by_id(group.id).unwrap().name;
        let letters = rig
            .reader()
            .topic(&format!("%DLQ%{name}"))
            .map_or(0, |topic| rig.reader().queue_bounds(topic.id).unwrap()[0].next.0);
        assert_eq!(letters, dead, "dead letters of {name}");
        written.push((format!("%DLQ%{name}"), letters));
    }
    written.iter().for_each(|(topic, letters)| read_letters(rig, topic, *letters));
}

/// All dead letters are there, and their bodies can be read.
fn read_letters(rig: &mut Rig, topic: &str, letters: u64) {
    let Some(topic) = rig.reader().topic(topic).map(|topic| topic.id) else { return };
    // What was deleted holds the log as long as it is not erased.
    rig.erase_all(7);
    let end = LogIndex(rig.log.len() as u64);
    rig.retain(end, |_, _| ());
    let reviewer = rig.group(&format!("reviewer-{}", topic.0), GroupSettings::default());
    let mut read = 0;
    loop {
        let picks = rig.receive(reviewer, topic, 32);
        if picks.is_empty() {
            break;
        }
        picks.iter().for_each(|pick| assert!(rig.message(pick).body.contains(&b'/')));
        read += picks.len() as u64;
    }
    assert_eq!(read, letters);
}

/// hazards 17: another node, which gets the entries in other groups, restarts in between and has other settings of its
/// own, is equal.
fn assert_other_node_is_equal(rig: &Rig, restart_at: usize) {
    let folder = tempfile::tempdir().unwrap();
    let triggers = FlushTriggers { log_bytes: 1, messages: 1, memory_bytes: 1 };
    let mut state = State::open_with(folder.path(), triggers).unwrap();
    let (first, second) = rig.log.split_at(restart_at.min(rig.log.len()));
    for entries in first.chunks(3) {
        state.apply(entries.to_vec()).unwrap();
    }
    state.flush().unwrap();
    drop(state);
    let mut state = State::open(folder.path()).unwrap();
    for entries in second.chunks(5) {
        state.apply(entries.to_vec()).unwrap();
    }
    assert_eq!(state.reader().digest(), rig.reader().digest());
    assert_eq!(state.reader().next_due(), rig.reader().next_due());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    /// hazards 17, 18: see the head of this file.
    #[test]
    fn random_commands_follow_the_model(steps in prop::collection::vec(step(), 1..60), restart_at in 0..80usize) {
        let (mut rig, mut model) = run(&steps);
        drain(&mut rig, &mut model);
        assert_other_node_is_equal(&rig, restart_at);
    }
}
