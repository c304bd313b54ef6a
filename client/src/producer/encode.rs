//! A message as it stands in a SendMessage request: field 1, repeated.

use std::time::Duration;

use bytes::BytesMut;
use tercet_proto::rocketmq::v2 as pb;

use crate::{client::resource, message::Message, message_id::MessageId};

/// The number of the field `messages` in `SendMessageRequest`.
const MESSAGES_FIELD: u32 = 1;

/// Appends the message to an encoded request. `born` is the wall clock, `host` this machine's name.
pub(super) fn append(message: Message, id: MessageId, born: Duration, host: &str, request: &mut BytesMut) {
    let message_type = if message.group.is_some() { pb::MessageType::Fifo } else { pb::MessageType::Normal };
    let system = pb::SystemProperties {
        tag: message.tag.map(String::from),
        keys: message.keys,
        message_id: id.to_string(),
        body_encoding: pb::Encoding::Identity as i32,
        message_type: message_type as i32,
        born_timestamp: Some(prost_types::Timestamp {
            seconds: i64::try_from(born.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(born.subsec_nanos()).expect("less than a billion"),
        }),
        born_host: host.to_owned(),
        message_group: message.group.map(String::from),
        ..Default::default()
    };
    let message = pb::Message {
        topic: Some(resource(&message.topic)),
        user_properties: message.properties.into_iter().collect(),
        system_properties: Some(system),
        body: message.body,
    };
    prost::encoding::message::encode(MESSAGES_FIELD, &message, request);
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::message_id::MessageIds;

    #[test]
    fn appended_messages_read_back_as_one_request() {
        let ids = MessageIds::new([1; 6], 2);
        let mut request = BytesMut::new();
        let now = Duration::from_millis(1_700_000_000_123);
        let first = Message::builder("t").body("one").tag("g").key("k").property("p", "v").build().unwrap();
        let second = Message::builder("t").body("two").message_group("m").build().unwrap();
        let (a, b) = (ids.next(now), ids.next(now));
        append(first, a, now, "host", &mut request);
        append(second, b, now, "host", &mut request);

        let request = pb::SendMessageRequest::decode(request.freeze()).unwrap();
        assert_eq!(request.messages.len(), 2);
        let (first, second) = (&request.messages[0], &request.messages[1]);
        assert_eq!(first.body, "one");
        assert_eq!(first.topic, Some(resource("t")));
        assert_eq!(first.user_properties["p"], "v");
        let system = first.system_properties.as_ref().unwrap();
        assert_eq!((system.tag.as_deref(), system.keys.as_slice()), (Some("g"), &["k".to_owned()][..]));
        assert_eq!(system.message_id, a.to_string());
        assert_eq!(system.message_type(), pb::MessageType::Normal);
        assert_eq!(
            system.born_timestamp.unwrap(),
            prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_000_000 }
        );
        let system = second.system_properties.as_ref().unwrap();
        assert_eq!(system.message_group.as_deref(), Some("m"));
        assert_eq!(system.message_type(), pb::MessageType::Fifo);
    }
}
