//! A delivered message.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use prost::Message as _;
use tercet_proto::client::v1::{Batch, Delivered, StoredProperties};

use super::packed::unpack;
use crate::{broker_group::BrokerGroup, error::Error};

/// The reference of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) queue: u32,
    pub(super) offset: u64,
    pub(super) nonce: u64,
    pub(super) deadline_unix_ms: u64,
}

/// A message as it was delivered. Hidden from the rest of the group until its invisible duration has passed.
#[derive(Debug, Clone)]
pub struct ReceivedMessage {
    topic: Arc<str>,
    broker_group: BrokerGroup,
    message_id: String,
    attempt: u32,
    body: Bytes,
    tag: Option<String>,
    keys: Vec<String>,
    message_group: Option<String>,
    properties: BTreeMap<String, String>,
    origin_topic: Option<String>,
    stored_at: SystemTime,
    born_at: Option<SystemTime>,
    born_host: Option<String>,
    pub(super) reference: Reference,
}

impl ReceivedMessage {
    /// The topic that it was published to.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn shared_topic(&self) -> Arc<str> {
        Arc::clone(&self.topic)
    }

    /// Whose queue it is.
    #[must_use]
    pub fn broker_group(&self) -> BrokerGroup {
        self.broker_group
    }

    /// The number of its queue in the broker group.
    #[must_use]
    pub fn queue(&self) -> u32 {
        self.reference.queue
    }

    /// Its position in the queue, 0-based.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.reference.offset
    }

    /// The id that its producer gave to it: the same at every delivery. (Text, because other clients use other
    /// formats than [`MessageId`](crate::MessageId).)
    #[must_use]
    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    /// Which delivery to this group it is: 1 at first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What it carries; what its producer's client packed is unpacked.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The tag, if it has one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The keys to look it up by.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The key of FIFO order, if it has one.
    #[must_use]
    pub fn message_group(&self) -> Option<&str> {
        self.message_group.as_deref()
    }

    /// Of a dead letter, the topic that it was published to.
    #[must_use]
    pub fn origin_topic(&self) -> Option<&str> {
        self.origin_topic.as_deref()
    }

    /// User properties by name, all of them fit for another message.
    #[must_use]
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    /// When the broker stored it, by the broker's clock, to the millisecond.
    #[must_use]
    pub fn stored_at(&self) -> SystemTime {
        self.stored_at
    }

    /// When it was made, by its producer's clock, if that said so.
    #[must_use]
    pub fn born_at(&self) -> Option<SystemTime> {
        self.born_at
    }

    /// The name of the machine on which it was made, if its producer said so.
    #[must_use]
    pub fn born_host(&self) -> Option<&str> {
        self.born_host.as_deref()
    }

    /// What it carries, and nothing else.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// The messages of a batch, in order, with their references; one that cannot be read is an error by itself.
    pub(super) fn of_batch(
        topic: &Arc<str>,
        group: BrokerGroup,
        batch: Batch,
    ) -> impl Iterator<Item = (Reference, Result<Self, Error>)> {
        let (nonce, deadline_unix_ms) = (batch.nonce, batch.deadline_unix_ms);
        batch.messages.into_iter().map(move |message| {
            let Delivered { queue, offset, .. } = message;
            let reference = Reference { queue, offset, nonce, deadline_unix_ms };
            (reference, Self::parse(topic, group, reference, message))
        })
    }

    fn parse(
        topic: &Arc<str>,
        broker_group: BrokerGroup,
        reference: Reference,
        message: Delivered,
    ) -> Result<Self, Error> {
        let corrupt = |problem| Error::Corrupt { queue: reference.queue, offset: reference.offset, problem };
        let stored = StoredProperties::decode(message.properties).map_err(|error| corrupt(error.to_string()))?;
        let body = if stored.gzip { unpack(&message.body).map_err(corrupt)? } else { message.body };
        let some = |text: String| (!text.is_empty()).then_some(text);
        Ok(Self {
            topic: Arc::clone(topic),
            broker_group,
            message_id: stored.message_id,
            attempt: message.attempt.max(1),
            body,
            tag: some(message.tag),
            keys: stored.keys,
            message_group: some(stored.message_group),
            properties: stored.properties.into_iter().collect(),
            origin_topic: some(message.origin_topic),
            stored_at: UNIX_EPOCH + Duration::from_millis(message.stored_unix_ms),
            born_at: (stored.born_unix_ms > 0).then(|| UNIX_EPOCH + Duration::from_millis(stored.born_unix_ms)),
            born_host: some(stored.born_host),
            reference,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(properties: &[u8]) -> Batch {
        let message = Delivered {
            queue: 3,
            offset: 9,
            attempt: 2,
            stored_unix_ms: 1500,
            properties: Bytes::copy_from_slice(properties),
            body: Bytes::from_static(b"hello"),
            origin_topic: "first".into(),
            ..Default::default()
        };
        Batch { nonce: 7, deadline_unix_ms: 8, messages: vec![message], ..Default::default() }
    }

    #[test]
    fn a_delivered_message_has_what_was_stored() {
        let stored = StoredProperties {
            message_id: "id".into(),
            message_group: "g".into(),
            born_unix_ms: 1000,
            born_host: "h".into(),
            ..Default::default()
        };
        let message = ReceivedMessage::of_batch(&"t".into(), BrokerGroup(4), batch(&stored.encode_to_vec()))
            .next()
            .unwrap()
            .1
            .unwrap();
        assert_eq!((message.topic(), message.queue(), message.offset(), message.attempt()), ("t", 3, 9, 2));
        assert_eq!((message.message_id(), message.message_group(), message.tag()), ("id", Some("g"), None));
        assert_eq!(
            (message.body().as_ref(), message.stored_at()),
            (&b"hello"[..], UNIX_EPOCH + Duration::from_millis(1500))
        );
        assert_eq!((message.reference.nonce, message.reference.deadline_unix_ms), (7, 8));
        assert_eq!((message.origin_topic(), message.broker_group()), (Some("first"), BrokerGroup(4)));
        assert_eq!((message.born_at(), message.born_host()), (Some(UNIX_EPOCH + Duration::from_secs(1)), Some("h")));
        assert!(message.properties().is_empty(), "{:?}", message.properties());
    }

    #[test]
    fn a_packed_body_is_unpacked_and_one_that_cannot_be_is_named() {
        let stored = StoredProperties { gzip: true, ..Default::default() }.encode_to_vec();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, b"plain words").unwrap();
        let mut good = batch(&stored);
        good.messages[0].body = packed.finish().unwrap().into();
        let message = ReceivedMessage::of_batch(&"t".into(), BrokerGroup(4), good).next().unwrap().1.unwrap();
        assert_eq!(message.body().as_ref(), b"plain words");
        let error =
            ReceivedMessage::of_batch(&"t".into(), BrokerGroup(4), batch(&stored)).next().unwrap().1.unwrap_err();
        assert!(error.to_string().contains("queue 3, offset 9"), "{error}");
    }

    #[test]
    fn a_message_that_cannot_be_read_is_named() {
        let error =
            ReceivedMessage::of_batch(&"t".into(), BrokerGroup(4), batch(b"\xff\xff")).next().unwrap().1.unwrap_err();
        assert!(matches!(error, Error::Corrupt { queue: 3, offset: 9, .. }), "{error}");
        assert!(error.can_retry());
    }
}
