//! A delivered message.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use md5::{Digest as _, Md5};
use tercet_proto::rocketmq::v2 as pb;

use crate::error::Error;

/// A message as it was delivered. Hidden from the rest of the group until its invisible duration has passed.
#[derive(Debug, Clone)]
pub struct ReceivedMessage {
    topic: String,
    queue: u32,
    offset: u64,
    message_id: String,
    attempt: u32,
    body: Bytes,
    tag: Option<String>,
    keys: Vec<String>,
    message_group: Option<String>,
    properties: BTreeMap<String, String>,
    stored_at: Duration,
    pub(super) receipt_handle: String,
}

impl ReceivedMessage {
    /// The topic that it was published to.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The number of its queue.
    #[must_use]
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// Its position in the queue, 0-based.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
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

    /// What it carries.
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

    /// User properties by name.
    #[must_use]
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.properties
    }

    /// When the broker stored it, since 1970-01-01 UTC.
    #[must_use]
    pub fn stored_at(&self) -> Duration {
        self.stored_at
    }

    /// Checks a delivered message and its digest.
    pub(super) fn parse(message: pb::Message) -> Result<Self, Error> {
        let system = message.system_properties.unwrap_or_default();
        if !digest_fits(system.body_digest.as_ref(), &message.body) {
            return Err(Error::Corrupt { message_id: system.message_id });
        }
        let stored_at = system.store_timestamp.unwrap_or_default();
        Ok(Self {
            topic: message.topic.unwrap_or_default().name,
            queue: u32::try_from(system.queue_id).unwrap_or_default(),
            offset: system.queue_offset.and_then(|offset| u64::try_from(offset).ok()).unwrap_or_default(),
            message_id: system.message_id,
            attempt: system.delivery_attempt.and_then(|attempt| u32::try_from(attempt).ok()).unwrap_or(1).max(1),
            body: message.body,
            tag: system.tag.filter(|tag| !tag.is_empty()),
            keys: system.keys,
            message_group: system.message_group.filter(|group| !group.is_empty()),
            properties: message.user_properties.into_iter().collect(),
            stored_at: Duration::new(
                u64::try_from(stored_at.seconds).unwrap_or_default(),
                u32::try_from(stored_at.nanos).unwrap_or_default().min(999_999_999),
            ),
            receipt_handle: system.receipt_handle.unwrap_or_default(),
        })
    }
}

/// Whether the body is the one that the digest was made of. The broker always sends MD5; other digests are taken on
/// trust, as is a message without one.
fn digest_fits(digest: Option<&pb::Digest>, body: &[u8]) -> bool {
    let Some(digest) = digest.filter(|digest| digest.r#type() == pb::DigestType::Md5) else { return true };
    let sum = Md5::digest(body);
    let text = digest.checksum.as_bytes();
    text.len() == sum.len() * 2
        && text.chunks_exact(2).zip(sum).all(|(pair, byte)| {
            let digit = |at: usize| (pair[at] as char).to_digit(16);
            digit(0).zip(digit(1)).is_some_and(|(high, low)| high * 16 + low == u32::from(byte))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(checksum: &str) -> pb::Message {
        let digest = pb::Digest { r#type: pb::DigestType::Md5 as i32, checksum: checksum.into() };
        let system = pb::SystemProperties {
            message_id: "id".into(),
            body_digest: Some(digest),
            queue_id: 3,
            queue_offset: Some(9),
            delivery_attempt: Some(2),
            receipt_handle: Some("handle".into()),
            ..Default::default()
        };
        pb::Message { system_properties: Some(system), body: Bytes::from_static(b"hello"), ..Default::default() }
    }

    #[test]
    fn a_body_that_fits_its_digest_is_taken() {
        let received = ReceivedMessage::parse(message("5D41402ABC4B2A76B9719D911017C592")).unwrap();
        assert_eq!((received.queue(), received.offset(), received.attempt()), (3, 9, 2));
        assert_eq!(received.body(), "hello");
    }

    #[test]
    fn a_damaged_body_is_an_error_that_names_the_message() {
        for checksum in ["5D41402ABC4B2A76B9719D911017C593", "", "xx41402ABC4B2A76B9719D911017C592"] {
            let error = ReceivedMessage::parse(message(checksum)).unwrap_err();
            assert!(matches!(&error, Error::Corrupt { message_id } if message_id == "id"), "{error}");
        }
    }
}
