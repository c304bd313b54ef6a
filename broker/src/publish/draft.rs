//! Messages on their way in: checked at the door, not stored yet.

use std::collections::HashMap;

use bytes::Bytes;
use raft_log::types::UnixMillis;

use crate::model::TopicName;

/// What a message is. Told by its fields, as in the reference; `message_type` counts for transactions only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftKind {
    /// None of the others.
    Normal,
    /// With a message group.
    Fifo,
    /// With a delivery time, even one in the past.
    Delay,
    /// A half message.
    Transaction,
    /// With a priority.
    Priority,
    /// Of a lite topic.
    Lite,
}

/// A checked request: at least one message, all of one topic and one kind.
#[derive(Debug)]
pub struct Draft {
    /// Where to.
    pub topic: TopicName,
    /// What they are.
    pub kind: DraftKind,
    /// In the order of the request.
    pub messages: Vec<DraftMessage>,
}

/// One checked message.
#[derive(Debug)]
pub struct DraftMessage {
    /// The client's own; never empty.
    pub id: String,
    /// Empty: none.
    pub tag: String,
    /// Each without spaces.
    pub keys: Vec<String>,
    /// Without empty values.
    pub properties: HashMap<String, String>,
    /// 1 byte to 4 MiB.
    pub body: Bytes,
    /// Whether the body is packed by gzip; it is kept as it came.
    pub gzip: bool,
    /// When the client made it; 0 if it does not say.
    pub born: UnixMillis,
    /// Where the client made it.
    pub born_host: String,
    /// FIFO order key; empty: none.
    pub message_group: String,
    /// W3C or the client's own form; empty: none.
    pub trace_context: String,
    /// Not before.
    pub deliver_at: Option<UnixMillis>,
}
