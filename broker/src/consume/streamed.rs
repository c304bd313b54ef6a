//! Messages as they go over a stream of the broker's own protocol: body and properties as they lie in the log, so that nothing
//! is decoded, sealed or digested for them.

use tercet_proto::client::v1 as pb;

use super::deliver::{DeliverError, Deliverer, stored};
use crate::state::Pick;

impl Deliverer {
    /// The messages of these picks, in their order, those that can be read. Runs on the pool for blocking work.
    pub async fn read_as_stored(&self, picks: &[Pick]) -> Vec<Result<pb::Delivered, DeliverError>> {
        self.read_each(picks, as_stored).await
    }
}

fn as_stored(deliverer: &Deliverer, pick: &Pick) -> Result<pb::Delivered, String> {
    let entry = deliverer.entry(pick.position.index)?;
    let stored = stored(&entry, pick)?;
    Ok(pb::Delivered {
        queue: pick.queue.0,
        offset: pick.offset.0,
        attempt: u32::from(pick.attempt),
        stored_unix_ms: entry.stamp.0,
        tag: String::from_utf8(stored.tag.to_vec()).map_err(|error| error.to_string())?,
        properties: stored.meta,
        body: stored.body,
        origin_topic: pick.origin.map(|origin| deliverer.origin_topic(origin)).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use tercet_proto::rocketmq::v2::MessageType;

    use super::*;
    use crate::publish::MessageMeta;

    /// What is kept of a message is what its consumers read: one must not change without the other.
    #[test]
    fn kept_properties_are_those_of_the_protocol() {
        let meta = MessageMeta {
            message_id: String::from("id"),
            keys: vec![String::from("k")],
            properties: [(String::from("p"), String::from("v"))].into(),
            born_unix_ms: 1,
            born_host: String::from("host"),
            message_type: MessageType::Fifo as i32,
            message_group: String::from("g"),
            trace_context: String::from("trace"),
            gzip: true,
            deliver_at_unix_ms: Some(2),
        };
        let read = pb::StoredProperties::decode(&meta.encode_to_vec()[..]).expect("the same fields");
        let expected = pb::StoredProperties {
            message_id: String::from("id"),
            keys: vec![String::from("k")],
            properties: [(String::from("p"), String::from("v"))].into(),
            born_unix_ms: 1,
            born_host: String::from("host"),
            message_type: MessageType::Fifo as i32,
            message_group: String::from("g"),
            trace_context: String::from("trace"),
            gzip: true,
            deliver_at_unix_ms: Some(2),
        };
        assert_eq!(read, expected);
    }
}
