//! What is kept of a message beside its tag and body: written once into the log, read at each delivery, opaque to the
//! state machine. Protobuf, so that fields can be added; numbers are never used again for something else.

use std::collections::HashMap;

use tercet_proto::rocketmq::v2::MessageType;

use super::draft::{DraftKind, DraftMessage};

/// The kept fields.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MessageMeta {
    /// The client's own id.
    #[prost(string, tag = "1")]
    pub message_id: String,
    /// Index keys.
    #[prost(string, repeated, tag = "2")]
    pub keys: Vec<String>,
    /// User properties.
    #[prost(map = "string, string", tag = "3")]
    pub properties: HashMap<String, String>,
    /// When the client made it, unix milliseconds; 0 is not said.
    #[prost(uint64, tag = "4")]
    pub born_unix_ms: u64,
    /// Where the client made it.
    #[prost(string, tag = "5")]
    pub born_host: String,
    /// The number of its `MessageType`.
    #[prost(int32, tag = "6")]
    pub message_type: i32,
    /// FIFO order key; empty is none.
    #[prost(string, tag = "7")]
    pub message_group: String,
    /// Trace context; empty is none.
    #[prost(string, tag = "8")]
    pub trace_context: String,
    /// Whether the body is packed by gzip.
    #[prost(bool, tag = "9")]
    pub gzip: bool,
    /// Not before, unix milliseconds.
    #[prost(uint64, optional, tag = "10")]
    pub deliver_at_unix_ms: Option<u64>,
}

impl MessageMeta {
    /// Takes the fields out of a draft; its tag and body stay.
    pub fn take(draft: &mut DraftMessage, kind: DraftKind) -> MessageMeta {
        MessageMeta {
            message_id: std::mem::take(&mut draft.id),
            keys: std::mem::take(&mut draft.keys),
            properties: std::mem::take(&mut draft.properties),
            born_unix_ms: draft.born.0,
            born_host: std::mem::take(&mut draft.born_host),
            message_type: message_type(kind) as i32,
            message_group: std::mem::take(&mut draft.message_group),
            trace_context: std::mem::take(&mut draft.trace_context),
            gzip: draft.gzip,
            deliver_at_unix_ms: draft.deliver_at.map(|at| at.0),
        }
    }
}

fn message_type(kind: DraftKind) -> MessageType {
    match kind {
        DraftKind::Normal => MessageType::Normal,
        DraftKind::Fifo => MessageType::Fifo,
        DraftKind::Delay => MessageType::Delay,
        DraftKind::Transaction => MessageType::Transaction,
        DraftKind::Priority => MessageType::Priority,
        DraftKind::Lite => MessageType::Lite,
    }
}
