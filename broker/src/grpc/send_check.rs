//! A send request, checked at the door and turned into a [`Draft`]: what is inside one obeys every rule that needs no
//! state. Pure: the time is an argument; nothing is copied, bodies stay where the network put them.

use std::collections::HashMap;

use bytes::Bytes;
use raft_log::types::UnixMillis;
use tercet_proto::rocketmq::v2::{Code, Encoding, Message, MessageType, SendMessageRequest, SystemProperties};

use super::{names, refusal::Refusal};
use crate::limits::{
    BATCH_MESSAGES_MAX, BODY_BYTES_MAX, LABEL_BYTES_MAX, MESSAGE_GROUP_BYTES_LIMIT, PROPERTIES_BYTES_MAX,
    PROPERTIES_MAX, RESERVED_PROPERTIES,
};
use crate::publish::{Draft, DraftKind, DraftMessage};

/// How far ahead a delivery time may lie.
pub const DELIVERY_AHEAD_MILLIS_MAX: u64 = 365 * 24 * 3600 * 1000;

/// All rules that need no state.
pub fn check(request: SendMessageRequest, now: UnixMillis) -> Result<Draft, Refusal> {
    let count = request.messages.len();
    let Some(first) = request.messages.first() else {
        return Err(Refusal::new(Code::MessageCorrupted, "the request holds no message"));
    };
    if count > BATCH_MESSAGES_MAX {
        let why = format!("{count} messages in one request, at most {BATCH_MESSAGES_MAX} are allowed");
        return Err(Refusal::new(Code::PayloadTooLarge, why));
    }
    let topic = names::topic(first.topic.as_ref())?;
    let mut kind = None;
    let mut messages = Vec::with_capacity(count);
    for message in request.messages {
        if message.topic.as_ref().is_none_or(|other| other.name != topic.as_str()) {
            return Err(Refusal::new(Code::MessageCorrupted, "the messages of one request must have the same topic"));
        }
        let (this, draft) = check_message(message, now)?;
        if *kind.get_or_insert(this) != this {
            let why = "the messages of one request must be of the same type";
            return Err(Refusal::new(Code::MessagePropertyConflictWithType, why));
        }
        messages.push(draft);
    }
    let kind = kind.expect("there is a first message");
    if count > 1 && matches!(kind, DraftKind::Delay | DraftKind::Transaction) {
        let why = "delayed and transactional messages cannot be sent in a batch";
        return Err(Refusal::new(Code::MessageCorrupted, why));
    }
    Ok(Draft { topic, kind, messages })
}

fn check_message(message: Message, now: UnixMillis) -> Result<(DraftKind, DraftMessage), Refusal> {
    let system = message.system_properties.unwrap_or_default();
    check_id(&system.message_id)?;
    check_body(&message.body)?;
    let kind = kind_of(&system)?;
    let deliver_at = check_delivery_time(&system, now)?;
    let tag = check_tag(system.tag.unwrap_or_default())?;
    let keys = check_keys(system.keys)?;
    let message_group = check_group(system.message_group.unwrap_or_default())?;
    let properties = check_properties(message.user_properties, &tag, &keys)?;
    let draft = DraftMessage {
        id: system.message_id,
        tag,
        keys,
        properties,
        body: message.body,
        gzip: system.body_encoding == Encoding::Gzip as i32,
        born: system.born_timestamp.as_ref().map_or(UnixMillis(0), unix_millis),
        born_host: check_label("born_host", system.born_host)?,
        message_group,
        trace_context: check_label("trace_context", system.trace_context.unwrap_or_default())?,
        deliver_at,
    };
    Ok((kind, draft))
}

fn kind_of(system: &SystemProperties) -> Result<DraftKind, Refusal> {
    if let Some(priority) = system.priority
        && priority < 0
    {
        return Err(Refusal::new(Code::BadRequest, format!("priority {priority} is negative")));
    }
    let group = system.message_group.as_deref().is_some_and(|group| !group.is_empty());
    let lite = system.lite_topic.as_deref().is_some_and(|topic| !topic.is_empty());
    Ok(if system.message_type == MessageType::Transaction as i32 {
        DraftKind::Transaction
    } else if system.delivery_timestamp.is_some() {
        DraftKind::Delay
    } else if group {
        DraftKind::Fifo
    } else if lite {
        DraftKind::Lite
    } else if system.priority.is_some() {
        DraftKind::Priority
    } else {
        DraftKind::Normal
    })
}

fn check_id(id: &str) -> Result<(), Refusal> {
    if id.is_empty() {
        return Err(Refusal::new(Code::IllegalMessageId, "a message id is required"));
    }
    if id.len() > LABEL_BYTES_MAX {
        let why = format!("message id is longer than {LABEL_BYTES_MAX} bytes");
        return Err(Refusal::new(Code::IllegalMessageId, why));
    }
    Ok(())
}

fn check_body(body: &Bytes) -> Result<(), Refusal> {
    if body.is_empty() {
        return Err(Refusal::new(Code::MessageBodyEmpty, "the message body is empty"));
    }
    if body.len() > BODY_BYTES_MAX {
        let why = format!("the message body has {} bytes, at most {BODY_BYTES_MAX} are allowed", body.len());
        return Err(Refusal::new(Code::MessageBodyTooLarge, why));
    }
    Ok(())
}

fn check_delivery_time(system: &SystemProperties, now: UnixMillis) -> Result<Option<UnixMillis>, Refusal> {
    let Some(at) = &system.delivery_timestamp else { return Ok(None) };
    let at = unix_millis(at);
    if at.0 > now.0.saturating_add(DELIVERY_AHEAD_MILLIS_MAX) {
        return Err(Refusal::new(Code::IllegalDeliveryTime, "the delivery time is more than one year ahead"));
    }
    Ok(Some(at))
}

fn check_tag(tag: String) -> Result<String, Refusal> {
    let refuse = |why| Err(Refusal::new(Code::IllegalMessageTag, format!("tag {why}")));
    match tag.as_str() {
        "" => Ok(tag),
        text if text.trim().is_empty() => refuse("is blank"),
        text if text.contains('|') => refuse("contains |"),
        text if has_control(text) => refuse("contains a control character"),
        _ => Ok(tag),
    }
}

/// A key with a space is two keys, as in the reference, whose index splits there.
fn check_keys(keys: Vec<String>) -> Result<Vec<String>, Refusal> {
    for key in &keys {
        if key.trim().is_empty() {
            return Err(Refusal::new(Code::IllegalMessageKey, "a key is blank"));
        }
        if has_control(key) {
            return Err(Refusal::new(Code::IllegalMessageKey, "a key contains a control character"));
        }
    }
    if keys.iter().any(|key| key.contains(' ')) {
        return Ok(keys.iter().flat_map(|key| key.split(' ')).filter(|k| !k.is_empty()).map(str::to_owned).collect());
    }
    Ok(keys)
}

fn check_group(group: String) -> Result<String, Refusal> {
    let refuse = |why: String| Err(Refusal::new(Code::IllegalMessageGroup, format!("message group {why}")));
    match group.as_str() {
        "" => Ok(group),
        text if text.trim().is_empty() => refuse(String::from("is blank")),
        text if text.len() >= MESSAGE_GROUP_BYTES_LIMIT => {
            refuse(format!("is not shorter than {MESSAGE_GROUP_BYTES_LIMIT} bytes"))
        }
        text if has_control(text) => refuse(String::from("contains a control character")),
        _ => Ok(group),
    }
}

fn check_properties(
    mut properties: HashMap<String, String>,
    tag: &str,
    keys: &[String],
) -> Result<HashMap<String, String>, Refusal> {
    if properties.len() > PROPERTIES_MAX {
        let why = format!("{} user properties, at most {PROPERTIES_MAX} are allowed", properties.len());
        return Err(Refusal::new(Code::MessagePropertiesTooLarge, why));
    }
    let mut bytes = tag.len() + keys.iter().map(String::len).sum::<usize>();
    for (name, value) in &properties {
        let refuse = |why: &str| {
            Err(Refusal::new(Code::IllegalMessagePropertyKey, format!("user property {:?} {why}", shortened(name))))
        };
        if name.trim().is_empty() {
            return refuse("has a blank name");
        }
        if has_control(name) || has_control(value) {
            return refuse("contains a control character");
        }
        if RESERVED_PROPERTIES.binary_search(&name.as_str()).is_ok() {
            return refuse("has a reserved name");
        }
        bytes += name.len() + value.len();
    }
    if bytes > PROPERTIES_BYTES_MAX {
        let why =
            format!("tag, keys and user properties have {bytes} bytes, at most {PROPERTIES_BYTES_MAX} are allowed");
        return Err(Refusal::new(Code::MessagePropertiesTooLarge, why));
    }
    properties.retain(|_, value| !value.is_empty());
    Ok(properties)
}

fn check_label(field: &str, value: String) -> Result<String, Refusal> {
    if value.len() > LABEL_BYTES_MAX {
        return Err(Refusal::new(Code::BadRequest, format!("{field} is longer than {LABEL_BYTES_MAX} bytes")));
    }
    Ok(value)
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Milliseconds of a protobuf time; before 1970 counts as 1970.
pub fn unix_millis(time: &prost_types::Timestamp) -> UnixMillis {
    let millis = time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000);
    UnixMillis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
#[path = "send_check_tests.rs"]
mod tests;
