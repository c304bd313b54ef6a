//! Commands of a run as the ledger reads them; the state gets their bytes.

use bytes::Bytes;
use raft_log::types::LogIndex;

use crate::model::{MessageGroupKey, QueueId, TopicId};
use crate::state::{
    Ack, Bootstrap, ChangeInvisible, CreateGroup, CreateTopic, DeadLetter, DeleteGroup, DeleteTopic, EncodedCommand,
    Erase, KeepGroups, NeededBody, NewMessage, ProducerStamp, PublishBuilder, Receive, ReleaseTo, RenewLeases,
    UpdateGroup, relocate, sweep, tick, trim_to,
};

/// A message that somebody publishes. No two have the same body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) queue: QueueId,
    pub(super) tag: &'static str,
    /// Its message group; empty is none.
    pub(super) key: &'static str,
    pub(super) body: Bytes,
}

/// A command.
#[derive(Clone, Debug)]
pub(super) enum Order {
    Publish { topic: TopicId, producer: Option<ProducerStamp>, messages: Vec<Message> },
    Receive(Receive),
    Ack(Ack),
    Change(ChangeInvisible),
    GiveUp(DeadLetter),
    Renew(RenewLeases),
    Tick,
    Trim(LogIndex),
    Release(ReleaseTo),
    Sweep,
    Relocate(Vec<NeededBody>),
    Bootstrap(Bootstrap),
    CreateTopic(CreateTopic),
    CreateGroup(CreateGroup),
    UpdateGroup(UpdateGroup),
    DeleteTopic(DeleteTopic),
    DeleteGroup(DeleteGroup),
    Erase(Erase),
    Keep(KeepGroups),
}

impl Order {
    pub(super) fn encode(&self) -> EncodedCommand {
        match self {
            Order::Publish { topic, producer, messages } => publish(*topic, *producer, messages),
            Order::Receive(receive) => receive.encode(),
            Order::Ack(ack) => ack.encode(),
            Order::Change(change) => change.encode(),
            Order::GiveUp(dead) => dead.encode(),
            Order::Renew(renew) => renew.encode(),
            Order::Tick => tick(),
            Order::Trim(to) => trim_to(*to),
            Order::Release(release) => release.encode(),
            Order::Sweep => sweep(),
            Order::Relocate(bodies) => relocate(bodies),
            Order::Bootstrap(bootstrap) => bootstrap.encode(),
            Order::CreateTopic(create) => create.encode(),
            Order::CreateGroup(create) => create.encode(),
            Order::UpdateGroup(update) => update.encode(),
            Order::DeleteTopic(delete) => delete.encode(),
            Order::DeleteGroup(delete) => delete.encode(),
            Order::Erase(erase) => erase.encode(),
            Order::Keep(keep) => keep.encode(),
        }
    }
}

fn publish(topic: TopicId, producer: Option<ProducerStamp>, messages: &[Message]) -> EncodedCommand {
    let mut builder = PublishBuilder::new(topic, producer);
    for Message { queue, tag, key, body } in messages {
        builder.push(&NewMessage { queue: *queue, group: MessageGroupKey::of(key), tag, meta: b"", body });
    }
    builder.finish()
}
