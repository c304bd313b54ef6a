//! A state machine on a folder of its own, fed by hand.

use std::collections::BTreeSet;

use bytes::Bytes;
use raft_log::types::{ClusterId, GroupId, LogId, LogIndex, Term, UnixMillis};
use raft_log::{ApplyEntry, ApplyKind, StateMachine};

use crate::model::{
    AttemptKey, ClientKey, ConsumerGroupId, GroupChange, GroupName, GroupSettings, MessageGroupKey, Position,
    ProducerId, QueueId, TagFilter, TopicId, TopicName, TopicSettings, TopicType,
};
use crate::state::{
    Ack, AckEntry, BatchBuilder, Bootstrap, ChangeInvisible, CreateGroup, CreateTopic, DeadLetter, DeleteGroup,
    DeleteTopic, Deleted, DeliveryKey, EncodedCommand, Erase, Holder, Level, NeededBody, NewMessage, Outcome, Pick,
    ProducerStamp, PublishBuilder, PublishRefusal, Receive, Received, ReleaseTo, Settled, State, StateReader, StoredAt,
    StoredMessage, Unsettled, UpdateGroup, outcomes, relocate, sweep, tick, trim_to,
};

/// How long a receive of these tests hides.
pub(super) const INVISIBLE_MS: u64 = 10_000;

/// A state machine, the log it has applied, and the stamp of the next entry.
pub(super) struct Rig {
    folder: tempfile::TempDir,
    pub(super) state: Option<State>,
    pub(super) log: Vec<ApplyEntry>,
    pub(super) now: u64,
    /// Whether the first entry begins with the bootstrap.
    forms: bool,
}

impl Rig {
    /// The state of a broker group, whose first entry forms it beside whatever else is in it.
    pub(super) fn new() -> Rig {
        Rig { forms: true, ..Rig::unformed() }
    }

    /// A state that nobody has told its group.
    pub(super) fn unformed() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        Rig { folder, state: Some(state), log: Vec::new(), now: 1_000_000, forms: false }
    }

    pub(super) fn state(&mut self) -> &mut State {
        self.state.as_mut().unwrap()
    }

    pub(super) fn reader(&self) -> StateReader {
        self.state.as_ref().unwrap().reader()
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Closes the store without a flush and opens it: what a crash leaves. Then applies again what was lost.
    pub(super) fn crash_and_replay(&mut self) {
        self.state = None;
        let mut state = State::open(self.folder.path()).unwrap();
        let from = state.applied().map_or(0, |point| point.id.index.0 + 1);
        let lost: Vec<_> = self.log.iter().filter(|entry| entry.id.index.0 >= from).cloned().collect();
        state.apply(lost).unwrap();
        self.state = Some(state);
    }

    pub(super) fn entry(&self, commands: &[EncodedCommand]) -> ApplyEntry {
        let mut batch = BatchBuilder::new();
        if self.forms_next() {
            batch.push(
                &Bootstrap { cluster: ClusterId(1), group: GroupId(1), level: Level::NEWEST, handle_key: [7; 32] }
                    .encode(),
            );
        }
        commands.iter().for_each(|command| batch.push(command));
        let index = LogIndex(self.log.len() as u64);
        ApplyEntry { id: LogId { term: Term(1), index }, kind: ApplyKind::Command(batch.build(UnixMillis(self.now))) }
    }

    fn forms_next(&self) -> bool {
        self.forms && self.log.is_empty()
    }

    /// Applies an entry with these commands; answers their outcomes.
    pub(super) fn apply(&mut self, commands: &[EncodedCommand]) -> Vec<Outcome> {
        let entry = self.entry(commands);
        let forms = usize::from(self.forms_next());
        self.log.push(entry.clone());
        let responses = self.state().apply(vec![entry]).unwrap();
        outcomes(&responses[0]).unwrap().split_off(forms)
    }

    pub(super) fn one(&mut self, command: &EncodedCommand) -> Outcome {
        let mut outcomes = self.apply(std::slice::from_ref(command));
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    /// Time passes, and the state learns of it.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now += ms;
        assert_eq!(self.one(&tick()), Outcome::Ticked);
    }

    /// What needs bodies before an entry, as a leader finds it: at most so many.
    pub(super) fn needed_bodies(&self, before: LogIndex, count: usize) -> Vec<NeededBody> {
        let (mut found, mut next) = (Vec::new(), DeliveryKey::FIRST);
        while found.len() < count {
            let holders = self.reader().holders(before, count, next).unwrap();
            // Letters are found by each look.
            holders.found.into_iter().for_each(|of| {
                if !found.contains(&of) {
                    found.push(of);
                }
            });
            next = holders.next;
            if next == DeliveryKey::FIRST {
                break;
            }
        }
        found.truncate(count);
        let body = |(from, holder): (Position, Holder)| {
            let ApplyKind::Command(payload) = &self.log[usize::try_from(from.index.0).unwrap()].kind else {
                panic!("messages lie in commands")
            };
            let (start, end) = (from.offset as usize, (from.offset + from.length) as usize);
            NeededBody { from, holders: vec![holder], record: payload.slice(start..end) }
        };
        found.into_iter().map(body).collect()
    }

    /// What retention and the leader do together until the readable start is at `to`; `relocating` sees what moves.
    pub(super) fn retain(&mut self, to: LogIndex, mut relocating: impl FnMut(&mut Rig, &[NeededBody])) {
        self.one(&trim_to(to));
        while let Some(held) = self.reader().held_back() {
            assert_eq!(held.to, to);
            let bodies = self.needed_bodies(held.before, 3);
            if bodies.is_empty() {
                assert_eq!(self.one(&trim_to(to)), Outcome::Trimmed { start: to }, "nothing holds it any more");
            } else {
                relocating(self, &bodies);
                self.one(&relocate(&bodies));
                // Whoever had the same idea comes too late.
                assert_eq!(self.one(&relocate(&bodies)), Outcome::Relocated(0));
            }
        }
        while self.reader().sweep_due() {
            self.one(&sweep());
        }
        assert_eq!(self.state().needed_from(), to);
    }

    /// What everybody has read goes, up to `to`, as a leader has it; answers the start.
    pub(super) fn release(&mut self, to: LogIndex) -> LogIndex {
        match self.reader().release(to).unwrap() {
            Some(release) => self.apply_release(release),
            None => self.state().needed_from(),
        }
    }

    /// The same, of what was found to be read at some time.
    pub(super) fn apply_release(&mut self, release: ReleaseTo) -> LogIndex {
        match self.one(&release.encode()) {
            Outcome::Trimmed { start } => start,
            other => panic!("a release answers {other:?}"),
        }
    }

    /// The group serves for so long: entries keep coming.
    pub(super) fn serve(&mut self, ms: u64) {
        for _ in 0..ms / 1000 {
            self.pass(1000);
        }
    }

    pub(super) fn topic(&mut self, name: &str, queues: u32, kind: TopicType) -> TopicId {
        let name = TopicName::parse(name).unwrap();
        let create = CreateTopic { name, settings: TopicSettings { queues, kind } };
        let Outcome::Topic(created) = self.one(&create.encode()) else { panic!("a topic") };
        created.id().unwrap()
    }

    pub(super) fn group(&mut self, name: &str, settings: GroupSettings) -> ConsumerGroupId {
        let name = GroupName::parse(name).unwrap();
        let create = CreateGroup { name, settings, automatic: false };
        let Outcome::Group(created) = self.one(&create.encode()) else { panic!("a group") };
        created.id().unwrap()
    }

    pub(super) fn delete_topic(&mut self, topic: TopicId) -> Deleted {
        self.deleted(&DeleteTopic { topic }.encode())
    }

    pub(super) fn delete_group(&mut self, group: ConsumerGroupId, with_dead_letters: bool, refuse_ms: u64) -> Deleted {
        self.deleted(&DeleteGroup { group, with_dead_letters, refuse_ms }.encode())
    }

    fn deleted(&mut self, command: &EncodedCommand) -> Deleted {
        match self.one(command) {
            Outcome::Deleted(deleted) => deleted,
            other => panic!("a deletion answers {other:?}"),
        }
    }

    /// One step of erasing; answers whether something is left.
    pub(super) fn erase(&mut self, records: u32) -> bool {
        match self.one(&Erase { records }.encode()) {
            Outcome::Erased { left } => left > 0,
            other => panic!("an erasure answers {other:?}"),
        }
    }

    pub(super) fn erase_all(&mut self, records: u32) {
        while self.erase(records) {}
        assert!(!self.reader().erasing());
    }

    pub(super) fn update(&mut self, name: &str, change: GroupChange) -> GroupSettings {
        let name = GroupName::parse(name).unwrap();
        match self.one(&UpdateGroup { name, change }.encode()) {
            Outcome::GroupUpdated(settings) => settings,
            other => panic!("an update answers {other:?}"),
        }
    }

    /// Publishes messages given as queue, tag and message group.
    pub(super) fn publish(&mut self, topic: TopicId, messages: &[(u32, &str, &str)]) -> Vec<StoredAt> {
        self.try_publish(topic, None, messages).unwrap()
    }

    pub(super) fn try_publish(
        &mut self,
        topic: TopicId,
        producer: Option<ProducerStamp>,
        messages: &[(u32, &str, &str)],
    ) -> Result<Vec<StoredAt>, PublishRefusal> {
        match self.one(&publish(topic, producer, messages)) {
            Outcome::Stored(stored) => Ok(stored),
            Outcome::PublishRefused(refusal) => Err(refusal),
            other => panic!("a publish answers {other:?}"),
        }
    }

    pub(super) fn received(&mut self, receive: &Receive) -> Received {
        match self.one(&receive.encode()) {
            Outcome::Received(received) => received,
            other => panic!("a receive answers {other:?}"),
        }
    }

    pub(super) fn receive(&mut self, group: ConsumerGroupId, topic: TopicId, max: u16) -> Vec<Pick> {
        self.received(&receive(group, topic, max)).picks
    }

    pub(super) fn ack(&mut self, group: ConsumerGroupId, topic: TopicId, picks: &[Pick]) -> Vec<Settled> {
        match self.one(&Ack { group, topic, entries: picks.iter().map(handle).collect() }.encode()) {
            Outcome::Acked(settled) => settled,
            other => panic!("an ack answers {other:?}"),
        }
    }

    pub(super) fn change(
        &mut self,
        group: ConsumerGroupId,
        topic: TopicId,
        pick: &Pick,
        invisible_ms: u64,
    ) -> Result<UnixMillis, Settled> {
        let change = ChangeInvisible { group, topic, entry: handle(pick), invisible_ms, suspend: false };
        self.changed(&change)
    }

    pub(super) fn changed(&mut self, change: &ChangeInvisible) -> Result<UnixMillis, Settled> {
        match self.one(&change.encode()) {
            Outcome::Changed(changed) => changed,
            other => panic!("a change answers {other:?}"),
        }
    }

    pub(super) fn give_up(&mut self, group: ConsumerGroupId, topic: TopicId, pick: &Pick) -> Settled {
        match self.one(&DeadLetter { group, topic, entry: handle(pick) }.encode()) {
            Outcome::DeadLettered(settled) => settled,
            other => panic!("a dead letter answers {other:?}"),
        }
    }

    /// The body of a message, from the log.
    pub(super) fn message(&self, pick: &Pick) -> StoredMessage {
        let ApplyKind::Command(payload) = &self.log[pick.position.index.0 as usize].kind else { panic!("a command") };
        StoredMessage::read(payload, pick.position).unwrap()
    }

    pub(super) fn digest(&self) -> u64 {
        self.reader().digest().unwrap().digest
    }
}

/// What the receipt handle of a pick says.
pub(super) fn handle(pick: &Pick) -> AckEntry {
    AckEntry { queue: pick.queue, offset: pick.offset, nonce: pick.nonce, deadline: pick.deadline }
}

pub(super) fn receive(group: ConsumerGroupId, topic: TopicId, max: u16) -> Receive {
    Receive {
        group,
        topic,
        queue: None,
        filter: TagFilter::All,
        messages_max: max,
        bytes_max: 1 << 20,
        invisible_ms: INVISIBLE_MS,
        auto_renew: ClientKey::NONE,
        attempt: AttemptKey::NONE,
    }
}

pub(super) fn tags(tags: &[&str]) -> TagFilter {
    TagFilter::Tags(tags.iter().map(|tag| String::from(*tag)).collect::<BTreeSet<_>>())
}

pub(super) fn publish(
    topic: TopicId,
    producer: Option<ProducerStamp>,
    messages: &[(u32, &str, &str)],
) -> EncodedCommand {
    let mut builder = PublishBuilder::new(topic, producer);
    for (queue, tag, group) in messages {
        let body = Bytes::from(format!("{queue}/{tag}/{group}"));
        let (queue, group) = (QueueId(*queue), MessageGroupKey::of(group));
        builder.push(&NewMessage { queue, group, tag, meta: b"meta", body: &body });
    }
    builder.finish()
}

/// A producer that does not say what it has in doubt.
pub(super) fn producer(id: u128, epoch: u64, base_sequence: u64) -> Option<ProducerStamp> {
    Some(ProducerStamp { id: ProducerId(id), epoch, base_sequence, unsettled: None })
}

/// A first try of a producer's first epoch.
pub(super) fn first_try(id: u128, base_sequence: u64, lowest: u64) -> Option<ProducerStamp> {
    let unsettled = Some(Unsettled { lowest, again: false });
    Some(ProducerStamp { id: ProducerId(id), epoch: 1, base_sequence, unsettled })
}

/// The same, sent again.
pub(super) fn again(id: u128, base_sequence: u64, lowest: u64) -> Option<ProducerStamp> {
    let unsettled = Some(Unsettled { lowest, again: true });
    Some(ProducerStamp { id: ProducerId(id), epoch: 1, base_sequence, unsettled })
}

/// Queue and offset of each, for comparing.
pub(super) fn places(picks: &[Pick]) -> Vec<(u32, u64)> {
    picks.iter().map(|pick| (pick.queue.0, pick.offset.0)).collect()
}

pub(super) fn offsets(picks: &[Pick]) -> Vec<u64> {
    picks.iter().map(|pick| pick.offset.0).collect()
}

pub(super) fn attempts(picks: &[Pick]) -> Vec<u16> {
    picks.iter().map(|pick| pick.attempt).collect()
}
