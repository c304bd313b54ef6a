//! Checked messages become one publish command, in one pass over their bodies.

use prost::Message as _;

use super::{
    draft::Draft,
    meta::MessageMeta,
    queue_choice::{RoundRobin, by_group},
};
use crate::{
    model::{MessageGroupKey, QueueId},
    state::{EncodedCommand, NewMessage, ProducerStamp, PublishBuilder, TopicView},
};

/// What a message's header, tag and meta usually take.
const PER_MESSAGE_BYTES: usize = 256;

/// The command that publishes `draft`. Its messages go to one queue, the topic's next in turn, unless they have a
/// message group: then each to the queue of its group.
pub fn publish_command(
    mut draft: Draft,
    topic: &TopicView,
    producer: Option<ProducerStamp>,
    turn: &RoundRobin,
) -> EncodedCommand {
    assert!(!draft.messages.is_empty(), "a draft holds a message");
    let queues = topic.settings.queues;
    let bodies: usize = draft.messages.iter().map(|message| message.body.len() + PER_MESSAGE_BYTES).sum();
    let mut builder = PublishBuilder::with_capacity(topic.id, producer, bodies + PER_MESSAGE_BYTES);
    let mut queue_in_turn = None;
    let mut meta = Vec::with_capacity(256);
    for message in &mut draft.messages {
        let group = MessageGroupKey::of(&message.message_group);
        let queue = if group.is_none() {
            *queue_in_turn.get_or_insert_with(|| turn.next(topic.id.0, queues))
        } else {
            by_group(group.0, queues)
        };
        meta.clear();
        MessageMeta::take(message, draft.kind).encode(&mut meta).expect("a vector grows");
        let (tag, body) = (message.tag.as_str(), &message.body[..]);
        builder.push(&NewMessage { queue: QueueId(queue), group, tag, meta: &meta, body });
    }
    builder.finish()
}
