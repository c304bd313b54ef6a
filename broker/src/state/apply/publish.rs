//! Publish: offsets for messages, all of a command or none.
//!
//! The hot path of `apply`: it walks over fixed headers, touches no body, allocates per command and not per message,
//! and leaves the index to be written once per (entry, queue).

use raft_log::types::{LogIndex, UnixMillis};

use super::{Applying, Core};
use crate::model::{QueueOffset, TopicType};
use crate::state::codec::DecodeError;
use crate::state::command::{MessageHeader, PublishView};
use crate::state::fault::Fault;
use crate::state::index::{IndexBlock, IndexedMessage, OpenBlocks};
use crate::state::keys;
use crate::state::outcome::{Outcome, PublishRefusal, StoredAt};
use crate::state::planted::{self, Bug};
use crate::state::producers::{Place, Plan};
use crate::state::topics::Topic;

impl Core {
    pub(super) fn publish(&mut self, publish: &PublishView<'_>, applying: &mut Applying<'_>) -> Result<Outcome, Fault> {
        let headers = publish.headers().collect::<Result<Vec<_>, DecodeError>>()?;
        Ok(match self.try_publish(publish, &headers, applying) {
            Ok(stored) => Outcome::Stored(stored),
            Err(refusal) => Outcome::PublishRefused(refusal),
        })
    }

    fn try_publish(
        &mut self,
        publish: &PublishView<'_>,
        headers: &[MessageHeader],
        applying: &mut Applying<'_>,
    ) -> Result<Vec<StoredAt>, PublishRefusal> {
        let topic = self.topics.get(publish.topic).ok_or(PublishRefusal::UnknownTopic)?;
        let plan = self.plan(publish, topic)?;
        check_queues(topic, headers, plan.as_ref())?;
        self.make_room_for_results(publish, applying)?;
        let mut stored = Vec::with_capacity(headers.len());
        let place = (applying.id.index, self.clock);
        let topic = self.topics.get_mut(publish.topic).expect("looked up above");
        for (at, header) in headers.iter().enumerate() {
            let known = plan.as_ref().and_then(|plan| plan.known(at));
            stored.push(match known {
                Some(Place { queue, offset }) => StoredAt { queue, offset, repeated: true },
                None => store(topic, header, place, &mut self.open_blocks),
            });
        }
        self.keep_results(publish, &stored, applying);
        let repeats = stored.iter().filter(|at| at.repeated).count() as u64;
        self.counters.repeats += repeats;
        self.counters.messages_in += stored.len() as u64 - repeats;
        Ok(stored)
    }

    /// What the sequences say; nothing for a publish without.
    fn plan(&self, publish: &PublishView<'_>, topic: &Topic) -> Result<Option<Plan>, PublishRefusal> {
        let Some(stamp) = publish.producer else { return Ok(None) };
        let window = self.producers.window((publish.topic, stamp.id));
        let plan = Plan::of(window, stamp, publish.count, topic.settings.kind == TopicType::Fifo)?;
        Ok(Some(plan))
    }

    /// Forgets idle producers if there would be too many with this one.
    fn make_room_for_results(
        &mut self,
        publish: &PublishView<'_>,
        applying: &mut Applying<'_>,
    ) -> Result<(), PublishRefusal> {
        let Some(stamp) = publish.producer else { return Ok(()) };
        if self.producers.make_room((publish.topic, stamp.id), applying.changes) {
            return Ok(());
        }
        assert!(!stamp.is_again(), "a repeat of an unknown producer is refused before");
        Err(PublishRefusal::TooManyProducers { first_try: stamp.unsettled.is_some() })
    }

    /// Keeps what the new messages of an idempotent producer got, and that it was heard.
    fn keep_results(&mut self, publish: &PublishView<'_>, stored: &[StoredAt], applying: &mut Applying<'_>) {
        let Some(stamp) = publish.producer.filter(|_| !planted::is(Bug::RepeatStored)) else { return };
        let mut rows: Vec<(u64, Vec<Place>)> = Vec::new();
        for (at, message) in stored.iter().enumerate().filter(|(_, message)| !message.repeated) {
            let sequence = stamp.base_sequence + at as u64;
            let place = Place { queue: message.queue, offset: message.offset };
            match rows.last_mut() {
                Some((base, places)) if *base + places.len() as u64 == sequence => places.push(place),
                _ => rows.push((sequence, vec![place])),
            }
        }
        let at = (applying.id.index, applying.command);
        self.producers.record(publish.topic, stamp, at, rows, applying.changes);
    }

    /// Writes the index of what was published since the last call. Groups find it when they look.
    pub(super) fn close_blocks(&mut self, applying: &mut Applying<'_>) {
        let mut record = Vec::new();
        for ((topic, queue), block) in self.open_blocks.take() {
            applying.available.insert(topic);
            if self.topics.get(topic).is_some_and(|topic| topic.name.is_dead_letter()) {
                // Published by somebody: it is kept like the others there.
                for (at, message) in block.messages.iter().enumerate() {
                    let mut alone =
                        IndexBlock { base: block.base + at as u64, messages: Vec::new(), marks: Vec::new(), ..block };
                    alone.push(*message, block.marks_at(at));
                    self.keep_dead_letter(topic, queue, alone, applying);
                }
                continue;
            }
            block.encode(&mut record);
            applying.changes.put(keys::index(topic, queue, block.base), &record);
            self.recent.push(topic, queue, block);
        }
    }
}

/// Gives a message the next offset of its queue.
fn store(
    topic: &mut Topic,
    header: &MessageHeader,
    place: (LogIndex, UnixMillis),
    open_blocks: &mut OpenBlocks,
) -> StoredAt {
    let queue = &mut topic.queues[header.queue.0 as usize];
    let offset = queue.next;
    queue.next += 1;
    let message = IndexedMessage { group: header.group, tag: header.tag, offset: header.offset, length: header.length };
    open_blocks.push((topic.id, header.queue), offset, place, (message, header.marks));
    StoredAt { queue: header.queue, offset: QueueOffset(offset), repeated: false }
}

fn check_queues(topic: &Topic, headers: &[MessageHeader], plan: Option<&Plan>) -> Result<(), PublishRefusal> {
    let is_new = |at: usize| plan.is_none_or(|plan| plan.known(at).is_none());
    match headers.iter().enumerate().find(|(at, header)| is_new(*at) && topic.queue(header.queue).is_none()) {
        Some((_, header)) => Err(PublishRefusal::UnknownQueue(header.queue)),
        None => Ok(()),
    }
}
