//! Messages as an application gives them to a producer: checked when they are built, trusted afterwards.

use std::collections::BTreeMap;

use bytes::Bytes;

pub use tercet_proto::limits::{
    BODY_BYTES_MAX, GROUP_CHARS_MAX, MESSAGE_GROUP_BYTES_LIMIT, PROPERTIES_BYTES_MAX, PROPERTIES_MAX,
    RESERVED_PROPERTIES, TOPIC_CHARS_MAX,
};

/// A message to publish.
///
/// The body is reference-counted: cloning a message or sending it again copies no body.
///
/// ```
/// use tercet_client::Message;
///
/// let message = Message::builder("orders")
///     .tag("created")
///     .key("order-4711")
///     .property("region", "eu")
///     .body("{\"total\": 12}")
///     .build()?;
/// assert_eq!(message.topic(), "orders");
/// # Ok::<(), tercet_client::MessageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub(crate) topic: Box<str>,
    pub(crate) body: Bytes,
    pub(crate) tag: Option<Box<str>>,
    pub(crate) group: Option<Box<str>>,
    pub(crate) keys: Vec<String>,
    pub(crate) properties: BTreeMap<String, String>,
}

/// What is wrong with a message. Sending it again cannot help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// See [`check_topic`].
    #[error("bad topic {0:?}: 1 to 127 characters of a-z, A-Z, 0-9, %, |, _ and - are expected")]
    Topic(String),
    /// See [`check_group`].
    #[error("bad consumer group {0:?}: 1 to 120 characters of a-z, A-Z, 0-9, %, |, _ and - are expected")]
    ConsumerGroup(String),
    /// Brokers refuse empty bodies.
    #[error("the body is empty")]
    BodyEmpty,
    /// See [`BODY_BYTES_MAX`].
    #[error("the body has {0} bytes; at most 4194304 are allowed")]
    BodyTooLarge(usize),
    /// A tag has no `|`, no control characters and is not blank.
    #[error("bad tag {0:?}: it may not be blank or contain '|' or control characters")]
    Tag(String),
    /// A key has no control characters and is not blank.
    #[error("bad key {0:?}: it may not be blank or contain blanks or control characters")]
    Key(String),
    /// See [`MESSAGE_GROUP_BYTES_LIMIT`].
    #[error("bad message group {0:?}: 1 to 63 bytes without control characters are expected")]
    MessageGroup(String),
    /// A property has a name, and no control characters.
    #[error("bad property {0:?}: names may not be blank, and neither names nor values may contain control characters")]
    Property(String),
    /// See [`RESERVED_PROPERTIES`].
    #[error("bad property {0:?}: RocketMQ keeps this name for its own use")]
    ReservedProperty(String),
    /// See [`PROPERTIES_MAX`] and [`PROPERTIES_BYTES_MAX`].
    #[error("{count} properties with {bytes} bytes of tag, keys and properties; at most 128 and 16384 are allowed")]
    PropertiesTooLarge {
        /// How many properties the message has.
        count: usize,
        /// Bytes of tag, keys and properties together.
        bytes: usize,
    },
}

impl Message {
    /// Starts a message to a topic.
    pub fn builder(topic: impl Into<String>) -> MessageBuilder {
        MessageBuilder {
            topic: topic.into(),
            body: Bytes::new(),
            tag: None,
            group: None,
            keys: Vec::new(),
            properties: BTreeMap::new(),
        }
    }

    /// The topic that it goes to.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What it carries.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The key of FIFO order; present exactly on messages to FIFO topics.
    #[must_use]
    pub fn message_group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// The keys to look it up by.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Adds a key, for sending many messages that differ in little else.
    ///
    /// # Errors
    /// If the key is malformed, or tag, keys and properties get too large.
    pub fn with_key(mut self, key: impl Into<String>) -> Result<Self, MessageError> {
        let key = key.into();
        check_key(&key)?;
        self.keys.push(key);
        check_property_bytes(self.tag.as_deref(), &self.keys, &self.properties)?;
        Ok(self)
    }

    /// Replaces the body, for sending many messages that differ in nothing else.
    ///
    /// # Errors
    /// If the body is empty or too large.
    pub fn with_body(&self, body: impl Into<Bytes>) -> Result<Self, MessageError> {
        let body = body.into();
        check_body(&body)?;
        Ok(Self { body, ..self.clone() })
    }
}

/// Collects what a [`Message`] consists of; made by [`Message::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct MessageBuilder {
    topic: String,
    body: Bytes,
    tag: Option<String>,
    group: Option<String>,
    keys: Vec<String>,
    properties: BTreeMap<String, String>,
}

impl MessageBuilder {
    /// What the message carries: 1 byte to 4 MiB.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// What consumers filter by.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// The key of FIFO order: messages of one group are stored and delivered in the order in which they were sent.
    /// Needed by FIFO topics, refused by all others.
    pub fn message_group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Adds a key to look the message up by.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Sets a property; one with an empty value is dropped by the broker.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// Checks everything against the limits that brokers enforce.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn build(self) -> Result<Message, MessageError> {
        check_topic(&self.topic)?;
        check_body(&self.body)?;
        if let Some(tag) = self.tag.as_ref().filter(|tag| is_blank_or_control(tag) || tag.contains('|')) {
            return Err(MessageError::Tag(tag.clone()));
        }
        self.keys.iter().try_for_each(|key| check_key(key))?;
        if let Some(group) =
            self.group.as_ref().filter(|group| is_blank_or_control(group) || group.len() >= MESSAGE_GROUP_BYTES_LIMIT)
        {
            return Err(MessageError::MessageGroup(group.clone()));
        }
        let has_control = |text: &str| text.contains(char::is_control);
        if let Some((name, _)) =
            self.properties.iter().find(|(name, value)| is_blank_or_control(name) || has_control(value))
        {
            return Err(MessageError::Property(name.clone()));
        }
        let is_reserved = |name: &&String| RESERVED_PROPERTIES.binary_search(&name.as_str()).is_ok();
        if let Some(name) = self.properties.keys().find(is_reserved) {
            return Err(MessageError::ReservedProperty(name.clone()));
        }
        check_property_bytes(self.tag.as_deref(), &self.keys, &self.properties)?;
        Ok(Message {
            topic: self.topic.into(),
            body: self.body,
            tag: self.tag.map(Into::into),
            group: self.group.map(Into::into),
            keys: self.keys,
            properties: self.properties,
        })
    }
}

/// Checks a topic name: 1 to 127 characters of `a-z A-Z 0-9 % | _ -`.
///
/// # Errors
/// [`MessageError::Topic`] with the name.
pub fn check_topic(topic: &str) -> Result<(), MessageError> {
    if is_name(topic, TOPIC_CHARS_MAX) { Ok(()) } else { Err(MessageError::Topic(topic.to_owned())) }
}

/// Checks the name of a consumer group: 1 to 120 characters of `a-z A-Z 0-9 % | _ -`.
///
/// # Errors
/// [`MessageError::ConsumerGroup`] with the name.
pub fn check_group(group: &str) -> Result<(), MessageError> {
    if is_name(group, GROUP_CHARS_MAX) { Ok(()) } else { Err(MessageError::ConsumerGroup(group.to_owned())) }
}

fn check_key(key: &str) -> Result<(), MessageError> {
    if is_blank_or_control(key) || key.contains(char::is_whitespace) {
        return Err(MessageError::Key(key.to_owned()));
    }
    Ok(())
}

fn check_property_bytes(
    tag: Option<&str>,
    keys: &[String],
    properties: &BTreeMap<String, String>,
) -> Result<(), MessageError> {
    let count = properties.len();
    let bytes = tag.map_or(0, str::len)
        + keys.iter().map(String::len).sum::<usize>()
        + properties.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if count > PROPERTIES_MAX || bytes > PROPERTIES_BYTES_MAX {
        return Err(MessageError::PropertiesTooLarge { count, bytes });
    }
    Ok(())
}

fn check_body(body: &Bytes) -> Result<(), MessageError> {
    match body.len() {
        0 => Err(MessageError::BodyEmpty),
        length if length > BODY_BYTES_MAX => Err(MessageError::BodyTooLarge(length)),
        _ => Ok(()),
    }
}

fn is_name(text: &str, bytes_max: usize) -> bool {
    !text.is_empty()
        && text.len() <= bytes_max
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%|_-".contains(&byte))
}

fn is_blank_or_control(text: &str) -> bool {
    text.trim().is_empty() || text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> MessageBuilder {
        Message::builder("orders").body("x")
    }

    #[test]
    fn a_body_of_exactly_4_mib_is_legal_and_one_byte_more_is_not() {
        assert!(valid().body(vec![0; BODY_BYTES_MAX]).build().is_ok());
        let error = valid().body(vec![0; BODY_BYTES_MAX + 1]).build().unwrap_err();
        assert_eq!(error, MessageError::BodyTooLarge(4_194_305));
        assert_eq!(valid().body("").build(), Err(MessageError::BodyEmpty));
    }

    #[test]
    fn each_bad_part_is_named() {
        let cases = [
            (Message::builder("a b").body("x"), "bad topic \"a b\""),
            (Message::builder("").body("x"), "bad topic \"\""),
            (valid().tag("a|b"), "bad tag \"a|b\""),
            (valid().tag(" "), "bad tag"),
            (valid().key("a\u{7}"), "bad key"),
            (valid().key("a b"), "bad key \"a b\""),
            (valid().message_group("g".repeat(64)), "bad message group"),
            (valid().property(" ", "v"), "bad property \" \""),
            (valid().property("TTL", "1"), "bad property \"TTL\": RocketMQ keeps"),
            (valid().property("n", "\u{1}"), "bad property \"n\""),
            (valid().property("n", "v".repeat(16_384)), "1 properties with 16385 bytes"),
        ];
        for (builder, text) in cases {
            let error = builder.build().unwrap_err().to_string();
            assert!(error.contains(text), "{error} lacks {text}");
        }
    }

    #[test]
    fn the_limits_themselves_are_legal() {
        assert!(valid().message_group("g".repeat(63)).build().is_ok());
        assert!(Message::builder("t".repeat(127)).body("x").build().is_ok());
        assert!(check_group(&"g".repeat(120)).is_ok());
        assert!(check_group(&"g".repeat(121)).is_err());
        let many = (0..128).fold(valid(), |builder, n| builder.property(format!("p{n}"), "v"));
        assert!(many.clone().build().is_ok());
        assert!(many.property("one-more", "v").build().is_err());
    }
}
