//! Picks become messages: bodies read from the log by position, never copied, with everything that clients need.
//!
//! Reading may block on a disk and digests cost CPU, so both run where blocking is allowed, a bounded number of bytes
//! at a time.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use md5::{Digest as _, Md5};
use prost::Message as _;
use prost_types::Timestamp;
use raft_log::{
    Replica,
    types::{GroupId, LogIndex, UnixMillis},
};
use tercet_proto::rocketmq::v2::{Digest, DigestType, Encoding, Message, Resource, SystemProperties};

use super::{
    entries::{Entry, RecentEntries},
    handle::{Delivery, HandleKey},
    turns::Turns,
};
use crate::{
    limits::{RECEIVE_READ_BYTES, RECENT_ENTRIES_BYTES_MAX},
    model::{ConsumerGroupId, TopicId, TopicName},
    publish::{Batcher, MessageMeta},
    state::{AckEntry, Origin, Pick, StateReader, StoredMessage, entry_stamp},
};

/// The property in which FIFO messages carry their message group, as users of the reference know it.
const GROUP_PROPERTY: &str = "__SHARDINGKEY";
const ORIGIN_TOPIC_PROPERTY: &str = "DLQ_ORIGIN_TOPIC";
const ORIGIN_ID_PROPERTY: &str = "DLQ_ORIGIN_MESSAGE_ID";

/// Messages that are a smaller share of their entry than one in so many are copied out of it.
const COPIED_BELOW: usize = 4;

/// Why a pick could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message at queue {queue}, offset {offset} could not be read from the log: {reason}")]
pub struct DeliverError {
    /// Its queue.
    pub queue: u32,
    /// Its offset.
    pub offset: u64,
    /// What failed.
    pub reason: String,
}

/// Of what and to whom.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The topic's number.
    pub topic: TopicId,
    /// The topic's name.
    pub topic_name: TopicName,
    /// The consumer group's number.
    pub group: ConsumerGroupId,
}

/// Makes messages of picks on one node. Cheap to clone.
#[derive(Clone)]
pub struct Deliverer {
    replica: Replica,
    state: StateReader,
    group: GroupId,
    store_host: Arc<str>,
    handles: Arc<OnceLock<HandleKey>>,
    recent: Arc<RecentEntries>,
    turns: Arc<Turns>,
}

/// The delivery that a pick is.
pub fn ack_entry(pick: &Pick) -> AckEntry {
    AckEntry { queue: pick.queue, offset: pick.offset, nonce: pick.nonce, deadline: pick.deadline }
}

impl Deliverer {
    /// For this broker group; `store_host` is told to clients. Reads make way for what is published through `batcher`.
    pub fn new(replica: Replica, state: StateReader, group: GroupId, store_host: &str, batcher: Batcher) -> Deliverer {
        let recent = Arc::new(RecentEntries::new(RECENT_ENTRIES_BYTES_MAX));
        let turns = Arc::new(Turns::new(move || batcher.is_publishing()));
        Deliverer { replica, state, group, store_host: Arc::from(store_host), handles: Arc::default(), recent, turns }
    }

    /// The key of receipt handles; nothing until the state is seeded.
    pub fn handles(&self) -> Option<&HandleKey> {
        if let Some(key) = self.handles.get() {
            return Some(key);
        }
        let seed = self.state.cluster()?;
        Some(self.handles.get_or_init(|| HandleKey::new(&seed.handle_key)))
    }

    /// The name of the topic that a dead letter was published to; empty if that is gone.
    pub(super) fn origin_topic(&self, origin: Origin) -> String {
        self.state.topic_by_id(origin.topic).map(|topic| topic.name.as_str().to_owned()).unwrap_or_default()
    }

    /// The broker group that deliveries are of.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// How many of the picks are read at once: at least one, as long as they are within the bound.
    pub fn portion(picks: &[Pick]) -> usize {
        Deliverer::portion_within(picks, RECEIVE_READ_BYTES)
    }

    /// How many of the picks have so many bytes together; at least one.
    pub fn portion_within(picks: &[Pick], bytes_max: usize) -> usize {
        let mut bytes = 0_usize;
        let fits = |pick: &&Pick| {
            bytes += pick.position.length as usize;
            bytes <= bytes_max
        };
        picks.iter().take_while(fits).count().max(1).min(picks.len())
    }

    /// The messages of these picks, in their order, those that can be read. Runs on the pool for blocking work.
    pub async fn read(&self, of: &Delivered, picks: &[Pick]) -> Vec<Result<Message, DeliverError>> {
        let of = of.clone();
        self.read_each(picks, move |this, pick| this.message(&of, pick)).await
    }

    /// What `one` makes of each pick, in their order. Runs on the pool for blocking work, in its turn.
    pub(super) async fn read_each<M: Send + 'static>(
        &self,
        picks: &[Pick],
        one: impl Fn(&Deliverer, &Pick) -> Result<M, String> + Send + 'static,
    ) -> Vec<Result<M, DeliverError>> {
        let broken = |pick: &Pick, reason: String| DeliverError { queue: pick.queue.0, offset: pick.offset.0, reason };
        let (this, owned) = (self.clone(), picks.to_vec());
        let work = move || owned.iter().map(|pick| one(&this, pick).map_err(|reason| broken(pick, reason))).collect();
        let _turn = self.turns.take().await;
        match tokio::task::spawn_blocking(work).await {
            Ok(messages) => messages,
            Err(error) => picks.iter().map(|pick| Err(broken(pick, error.to_string()))).collect(),
        }
    }

    fn message(&self, of: &Delivered, pick: &Pick) -> Result<Message, String> {
        let entry = self.entry(pick.position.index)?;
        let stored_message = stored(&entry, pick)?;
        let meta = MessageMeta::decode(stored_message.meta.clone()).map_err(|error| error.to_string())?;
        let tag = String::from_utf8(stored_message.tag.to_vec()).map_err(|error| error.to_string())?;
        let delivery = Delivery {
            group: self.group,
            topic: of.topic,
            consumer_group: of.group,
            position: pick.position,
            entry: ack_entry(pick),
        };
        let handle = self.handles().ok_or("the state has no handle key")?.seal(&delivery);
        let origin_topic = pick.origin.map(|origin| self.origin_topic(origin));
        let mut message = assemble(of, meta, tag, stored_message.body);
        if let Some(topic) = origin_topic {
            let id = message.system_properties.as_ref().map(|system| system.message_id.clone()).unwrap_or_default();
            message.user_properties.insert(String::from(ORIGIN_TOPIC_PROPERTY), topic);
            message.user_properties.insert(String::from(ORIGIN_ID_PROPERTY), id);
        }
        let system = message.system_properties.as_mut().expect("assemble sets them");
        system.store_timestamp = Some(timestamp(entry.stamp));
        system.store_host = self.store_host.to_string();
        system.receipt_handle = Some(handle);
        system.queue_id = i32::try_from(pick.queue.0).map_err(|error| error.to_string())?;
        system.queue_offset = i64::try_from(pick.offset.0).ok();
        system.delivery_attempt = Some(i32::from(pick.attempt));
        Ok(message)
    }

    pub(super) fn entry(&self, index: LogIndex) -> Result<Entry, String> {
        if let Some(entry) = self.recent.get(index) {
            return Ok(entry);
        }
        let mut records = self.replica.read(index, index.next(), 1).map_err(|error| error.to_string())?;
        let record = records.pop().ok_or_else(|| format!("entry {index} is not there"))?;
        assert_eq!(record.id.index, index, "the log answers what was asked");
        let stamp = entry_stamp(&record.payload).map_err(|error| error.to_string())?;
        let entry = Entry { index, payload: record.payload, stamp };
        self.recent.put(&entry);
        Ok(entry)
    }
}

/// The message of a pick.
pub(super) fn stored(entry: &Entry, pick: &Pick) -> Result<StoredMessage, String> {
    let message = StoredMessage::read(&entry.payload, pick.position).map_err(|error| error.to_string())?;
    Ok(detached(message, pick.position.length as usize, entry.payload.len()))
}

/// A message that is a small part of its entry is copied out of it: it may wait for a slow client, and would hold the whole entry
/// meanwhile, of which its room says nothing.
fn detached(message: StoredMessage, bytes: usize, entry_bytes: usize) -> StoredMessage {
    if bytes >= entry_bytes / COPIED_BELOW {
        return message;
    }
    let (meta, body) = (Bytes::copy_from_slice(&message.meta), Bytes::copy_from_slice(&message.body));
    StoredMessage { meta, body, ..message }
}

/// Everything that the stored message itself says.
fn assemble(of: &Delivered, meta: MessageMeta, tag: String, body: Bytes) -> Message {
    let mut user_properties = meta.properties;
    if !meta.message_group.is_empty() {
        user_properties.insert(String::from(GROUP_PROPERTY), meta.message_group.clone());
    }
    let some = |text: String| (!text.is_empty()).then_some(text);
    let encoding = if meta.gzip { Encoding::Gzip } else { Encoding::Identity };
    let system = SystemProperties {
        tag: some(tag),
        keys: meta.keys,
        message_id: meta.message_id,
        body_digest: Some(Digest { r#type: DigestType::Md5 as i32, checksum: md5_upper(&body) }),
        body_encoding: encoding as i32,
        message_type: meta.message_type,
        born_timestamp: Some(timestamp(UnixMillis(meta.born_unix_ms))),
        born_host: meta.born_host,
        delivery_timestamp: meta.deliver_at_unix_ms.map(|at| timestamp(UnixMillis(at))),
        message_group: some(meta.message_group),
        trace_context: some(meta.trace_context),
        ..Default::default()
    };
    Message {
        topic: Some(Resource { resource_namespace: String::new(), name: of.topic_name.as_str().to_owned() }),
        user_properties,
        system_properties: Some(system),
        body,
    }
}

/// As the official clients compare it: upper case.
fn md5_upper(body: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    let mut text = String::with_capacity(32);
    for byte in Md5::digest(body) {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

/// A protobuf time.
pub fn timestamp(time: UnixMillis) -> Timestamp {
    let seconds = i64::try_from(time.0 / 1000).expect("milliseconds in 64 bits are few seconds");
    let nanos = i32::try_from(time.0 % 1000 * 1_000_000).expect("below one second");
    Timestamp { seconds, nanos }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Marks, MessageGroupKey, Position, QueueId, QueueOffset};

    fn delivered() -> Delivered {
        let topic_name = TopicName::parse("t").expect("legal");
        Delivered { topic: TopicId(1), topic_name, group: ConsumerGroupId(2) }
    }

    #[test]
    fn a_delivered_message_has_what_breaks_real_clients_when_missing() {
        let meta = MessageMeta {
            message_id: String::from("id"),
            message_group: String::from("g"),
            born_unix_ms: 1_234_567,
            message_type: 2,
            ..Default::default()
        };
        let message = assemble(&delivered(), meta, String::from("tag"), Bytes::from_static(b"hello"));
        let system = message.system_properties.expect("set");
        let digest = system.body_digest.expect("set");
        assert_eq!((digest.r#type, digest.checksum.as_str()), (2, "5D41402ABC4B2A76B9719D911017C592"));
        assert_eq!(system.body_encoding, Encoding::Identity as i32);
        assert_eq!(system.born_timestamp, Some(Timestamp { seconds: 1234, nanos: 567_000_000 }));
        assert_eq!((system.message_type, system.tag.as_deref()), (2, Some("tag")));
        assert_eq!(message.user_properties["__SHARDINGKEY"], "g");
        assert_eq!(message.topic.expect("set").name, "t");
    }

    #[test]
    fn a_small_message_does_not_hold_its_entry() {
        let entry = Bytes::from(vec![7; 1000]);
        let message = |bytes: usize| StoredMessage {
            queue: QueueId(0),
            group: MessageGroupKey::NONE,
            marks: Marks::NONE,
            tag: Bytes::new(),
            meta: entry.slice(..10),
            body: entry.slice(10..bytes),
        };
        let holds = |bytes| {
            let detached = detached(message(bytes), bytes, entry.len());
            assert_eq!((detached.meta.len(), detached.body.len()), (10, bytes - 10));
            entry.as_ptr_range().contains(&detached.body.as_ptr())
        };
        assert_eq!((holds(249), holds(250)), (false, true));
    }

    #[test]
    fn a_large_answer_is_read_in_portions_of_at_least_one() {
        let pick = |length| Pick {
            queue: QueueId(0),
            offset: QueueOffset(0),
            attempt: 1,
            position: Position { index: LogIndex(1), offset: 0, length },
            nonce: 0,
            deadline: UnixMillis(0),
            origin: None,
        };
        assert_eq!(Deliverer::portion(&[pick(10), pick(20)]), 2);
        assert_eq!(Deliverer::portion(&[pick(4 << 20), pick(1)]), 1);
        assert_eq!(Deliverer::portion(&[pick(600 << 10), pick(300 << 10), pick(300 << 10)]), 2);
        assert_eq!(Deliverer::portion(&[]), 0);
    }
}
