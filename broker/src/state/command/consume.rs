//! Commands of consumption: receive, acknowledge, change and renew what is in flight.

use std::collections::BTreeSet;

use bytes::{BufMut, BytesMut};
use raft_log::types::UnixMillis;

use super::encoded::EncodedCommand;
use super::kind;
use crate::model::{AttemptKey, ClientKey, ConsumerGroupId, QueueId, QueueOffset, TagFilter, TopicId};
use crate::state::codec::{DecodeError, Reader, put_text};

/// Asks for messages of a topic for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receive {
    /// The consumer group.
    pub group: ConsumerGroupId,
    /// The topic.
    pub topic: TopicId,
    /// One queue only, or any.
    pub queue: Option<QueueId>,
    /// Which messages; the others count as consumed by the group.
    pub filter: TagFilter,
    /// At most so many messages.
    pub messages_max: u16,
    /// At most so many bytes of message records; the first message is given whatever its size.
    pub bytes_max: u32,
    /// For how long what is picked is hidden from the group's other consumers, in milliseconds.
    pub invisible_ms: u64,
    /// The client on whose lease the deliveries are, which [`RenewLeases`] extends, or none: then only the client extends them.
    pub auto_renew: ClientKey,
    /// A FIFO group answers a repeat of the same attempt with the same messages; or none.
    pub attempt: AttemptKey,
}

impl Receive {
    /// The bytes for an entry.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand::new(kind::RECEIVE, 64, 0, |out| {
            out.put_u64_le(self.group.0);
            out.put_u64_le(self.topic.0);
            out.put_u64_le(self.queue.map_or(u64::MAX, |queue| u64::from(queue.0)));
            out.put_u16_le(self.messages_max);
            out.put_u32_le(self.bytes_max);
            out.put_u64_le(self.invisible_ms);
            out.put_u64_le(self.auto_renew.0);
            out.put_u64_le(self.attempt.0);
            put_filter(out, &self.filter);
        })
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Receive, DecodeError> {
        let mut reader = Reader::new("receive", body);
        let (group, topic) = (ConsumerGroupId(reader.u64()?), TopicId(reader.u64()?));
        let queue = match reader.u64()? {
            u64::MAX => None,
            queue => Some(QueueId(u32::try_from(queue).map_err(|_| reader.invalid())?)),
        };
        let messages_max = reader.u16()?;
        let bytes_max = reader.u32()?;
        let invisible_ms = reader.u64()?;
        let (auto_renew, attempt) = (ClientKey(reader.u64()?), AttemptKey(reader.u64()?));
        let filter = read_filter(&mut reader)?;
        reader.finish()?;
        Ok(Receive { group, topic, queue, filter, messages_max, bytes_max, invisible_ms, auto_renew, attempt })
    }
}

fn put_filter(out: &mut BytesMut, filter: &TagFilter) {
    match filter {
        TagFilter::All => out.put_u8(0),
        TagFilter::Tags(tags) => {
            out.put_u8(1);
            out.put_u32_le(u32::try_from(tags.len()).expect("filters are limited at the door"));
            tags.iter().for_each(|tag| put_text(out, tag));
        }
    }
}

fn read_filter(reader: &mut Reader<'_>) -> Result<TagFilter, DecodeError> {
    if !reader.flag()? {
        return Ok(TagFilter::All);
    }
    let count = reader.count()?;
    let tags: Result<BTreeSet<String>, DecodeError> = (0..count).map(|_| Ok(reader.text()?.to_owned())).collect();
    Ok(TagFilter::Tags(tags?))
}

/// One delivery, as its receipt handle says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckEntry {
    /// The queue of the topic.
    pub queue: QueueId,
    /// The message's offset there.
    pub offset: QueueOffset,
    /// The delivery, as the pick said.
    pub nonce: u64,
    /// The deadline that the pick said. It tells a message that was acknowledged from one that went elsewhere.
    pub deadline: UnixMillis,
}

const ACK_ENTRY_BYTES: usize = 28;

impl AckEntry {
    fn put(&self, out: &mut BytesMut) {
        out.put_u32_le(self.queue.0);
        out.put_u64_le(self.offset.0);
        out.put_u64_le(self.nonce);
        out.put_u64_le(self.deadline.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<AckEntry, DecodeError> {
        Ok(AckEntry {
            queue: QueueId(reader.u32()?),
            offset: QueueOffset(reader.u64()?),
            nonce: reader.u64()?,
            deadline: UnixMillis(reader.u64()?),
        })
    }
}

/// Acknowledges deliveries of one group and topic; each entry has its own outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The consumer group.
    pub group: ConsumerGroupId,
    /// The topic.
    pub topic: TopicId,
    /// What is done with.
    pub entries: Vec<AckEntry>,
}

impl Ack {
    /// The bytes for an entry.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand::new(kind::ACK, 12 + self.entries.len() * ACK_ENTRY_BYTES, 0, |out| {
            out.put_u64_le(self.group.0);
            out.put_u64_le(self.topic.0);
            out.put_u32_le(u32::try_from(self.entries.len()).expect("acknowledgements are limited at the door"));
            self.entries.iter().for_each(|entry| entry.put(out));
        })
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Ack, DecodeError> {
        let mut reader = Reader::new("ack", body);
        let (group, topic) = (ConsumerGroupId(reader.u64()?), TopicId(reader.u64()?));
        let count = reader.count()?;
        let entries: Result<Vec<_>, _> = (0..count).map(|_| AckEntry::read(&mut reader)).collect();
        reader.finish()?;
        Ok(Ack { group, topic, entries: entries? })
    }
}

/// Sets the deadline of one delivery anew, from the entry's stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeInvisible {
    /// The consumer group.
    pub group: ConsumerGroupId,
    /// The topic.
    pub topic: TopicId,
    /// The delivery.
    pub entry: AckEntry,
    /// Hidden for so long from now, in milliseconds; 0 gives the message back at once.
    pub invisible_ms: u64,
    /// Whether the next delivery keeps the attempt's number.
    pub suspend: bool,
}

impl ChangeInvisible {
    /// The bytes for an entry.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand::new(kind::CHANGE_INVISIBLE, 64, 0, |out| {
            out.put_u64_le(self.group.0);
            out.put_u64_le(self.topic.0);
            self.entry.put(out);
            out.put_u64_le(self.invisible_ms);
            out.put_u8(u8::from(self.suspend));
        })
    }

    pub(crate) fn decode(body: &[u8]) -> Result<ChangeInvisible, DecodeError> {
        let mut reader = Reader::new("change invisible", body);
        let change = ChangeInvisible {
            group: ConsumerGroupId(reader.u64()?),
            topic: TopicId(reader.u64()?),
            entry: AckEntry::read(&mut reader)?,
            invisible_ms: reader.u64()?,
            suspend: reader.flag()?,
        };
        reader.finish()?;
        Ok(change)
    }
}

/// Gives one delivery up: the message goes to the group's dead letters, whatever attempts are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The consumer group.
    pub group: ConsumerGroupId,
    /// The topic.
    pub topic: TopicId,
    /// The delivery.
    pub entry: AckEntry,
}

impl DeadLetter {
    /// The bytes for an entry.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand::new(kind::DEAD_LETTER, 16 + ACK_ENTRY_BYTES, 0, |out| {
            out.put_u64_le(self.group.0);
            out.put_u64_le(self.topic.0);
            self.entry.put(out);
        })
    }

    pub(crate) fn decode(body: &[u8]) -> Result<DeadLetter, DecodeError> {
        let mut reader = Reader::new("dead letter", body);
        let (group, topic) = (ConsumerGroupId(reader.u64()?), TopicId(reader.u64()?));
        let entry = AckEntry::read(&mut reader)?;
        reader.finish()?;
        Ok(DeadLetter { group, topic, entry })
    }
}

/// Sets when the leases of these clients end, on which everything is that they hold with `auto_renew`: later while they live,
/// sooner when one leaves. No lease keeps a delivery beyond
/// [`RENEWAL_AGE_MAX`](crate::state::RENEWAL_AGE_MAX).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewLeases {
    /// The clients, in any order.
    pub clients: Vec<ClientKey>,
    /// Hidden for so long from now, in milliseconds.
    pub invisible_ms: u64,
    /// Whether a later deadline is brought forward; otherwise deadlines only grow.
    pub shorten: bool,
}

impl RenewLeases {
    /// The bytes for an entry.
    #[must_use]
    pub fn encode(&self) -> EncodedCommand {
        EncodedCommand::new(kind::RENEW_LEASES, 13 + self.clients.len() * 8, 0, |out| {
            out.put_u64_le(self.invisible_ms);
            out.put_u8(u8::from(self.shorten));
            out.put_u32_le(u32::try_from(self.clients.len()).expect("far fewer clients"));
            self.clients.iter().for_each(|client| out.put_u64_le(client.0));
        })
    }

    pub(crate) fn decode(body: &[u8]) -> Result<RenewLeases, DecodeError> {
        let mut reader = Reader::new("renew leases", body);
        let invisible_ms = reader.u64()?;
        let shorten = reader.flag()?;
        let count = reader.count()?;
        let clients: Result<Vec<_>, _> = (0..count).map(|_| reader.u64().map(ClientKey)).collect();
        reader.finish()?;
        Ok(RenewLeases { clients: clients?, invisible_ms, shorten })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::command::encoded::FRAME_BYTES;

    #[test]
    fn commands_go_both_ways() {
        let body = |command: EncodedCommand| command.frame.slice(FRAME_BYTES..);
        let (group, topic) = (ConsumerGroupId(1 << 40), TopicId(1 << 50));
        let tags = TagFilter::Tags([String::from("a"), String::from("b")].into());
        for (queue, filter) in [(None, TagFilter::All), (Some(QueueId(0)), tags)] {
            let (auto_renew, attempt) = (ClientKey(5), AttemptKey(6));
            let (messages_max, bytes_max, invisible_ms) = (32, 1 << 20, 10_000);
            let receive =
                Receive { group, topic, queue, filter, messages_max, bytes_max, invisible_ms, auto_renew, attempt };
            assert_eq!(Receive::decode(&body(receive.encode())), Ok(receive));
        }
        let entry = AckEntry { queue: QueueId(3), offset: QueueOffset(4), nonce: 5, deadline: UnixMillis(6) };
        let ack = Ack { group, topic, entries: vec![entry, entry] };
        assert_eq!(Ack::decode(&body(ack.encode())), Ok(ack));
        let change = ChangeInvisible { group, topic, entry, invisible_ms: 0, suspend: true };
        assert_eq!(ChangeInvisible::decode(&body(change.encode())), Ok(change));
        let dead = DeadLetter { group, topic, entry };
        assert_eq!(DeadLetter::decode(&body(dead.encode())), Ok(dead));
        let renew = RenewLeases { clients: vec![ClientKey(1)], invisible_ms: 60_000, shorten: false };
        assert_eq!(RenewLeases::decode(&body(renew.encode())), Ok(renew));
    }
}
