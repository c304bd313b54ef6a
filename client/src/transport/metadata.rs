//! gRPC metadata: who calls, and what makes a publish repeatable.

use tercet_proto::headers;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

/// What every request of a client carries.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    metadata: MetadataMap,
}

impl Identity {
    /// `instance` tells this client from the others of this process and of every other one.
    pub(crate) fn new(process: u32, instance: u64) -> Self {
        let client_id = format!("tercet@{process}@{instance:016x}");
        let mut metadata = MetadataMap::with_capacity(8);
        metadata.insert("x-mq-client-id", ascii(&client_id));
        metadata.insert("x-mq-language", MetadataValue::from_static("RUST"));
        metadata.insert("x-mq-client-version", MetadataValue::from_static(env!("CARGO_PKG_VERSION")));
        metadata.insert("x-mq-protocol", MetadataValue::from_static("GRPC_V2"));
        Self { metadata }
    }

    /// A request with this identity.
    pub(crate) fn request<T>(&self, body: T) -> tonic::Request<T> {
        tonic::Request::from_parts(self.metadata.clone(), http::Extensions::new(), body)
    }
}

/// What makes a publish repeatable: message `i` of the request is number `sequence + i` of this producer and epoch.
/// A retry carries the same values, but for `again`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SendHeaders {
    pub(crate) producer: u128,
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    /// The lowest sequence whose outcome is not known and still wanted; the broker keeps nothing below, and stores
    /// nothing below any more.
    pub(crate) lowest: u64,
    /// An earlier attempt may have been stored. A broker that does not know the producer stores what is sent for the
    /// first time, and cannot tell what this is.
    pub(crate) again: bool,
}

impl SendHeaders {
    pub(crate) fn write(self, metadata: &mut MetadataMap) {
        metadata.insert(headers::PRODUCER, ascii(&format!("{:032x}", self.producer)));
        metadata.insert(headers::EPOCH, MetadataValue::from(self.epoch));
        metadata.insert(headers::SEQUENCE, MetadataValue::from(self.sequence));
        metadata.insert(headers::LOWEST, MetadataValue::from(self.lowest));
        metadata.insert(headers::AGAIN, MetadataValue::from_static(if self.again { "1" } else { "0" }));
    }
}

fn ascii(text: &str) -> MetadataValue<Ascii> {
    text.parse().expect("digits, letters and '@' are legal in metadata")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_a_publish_are_hexadecimal_and_decimal() {
        let mut metadata = MetadataMap::new();
        SendHeaders { producer: 0xAB, epoch: 2, sequence: 4096, lowest: 4000, again: true }.write(&mut metadata);
        assert_eq!(metadata.get(headers::PRODUCER).unwrap(), "000000000000000000000000000000ab");
        assert_eq!(metadata.get(headers::EPOCH).unwrap(), "2");
        assert_eq!(metadata.get(headers::SEQUENCE).unwrap(), "4096");
        assert_eq!(metadata.get(headers::LOWEST).unwrap(), "4000");
        assert_eq!(metadata.get(headers::AGAIN).unwrap(), "1");
    }

    #[test]
    fn every_request_says_who_calls() {
        let identity = Identity::new(7, 0xFE);
        let request = identity.request(());
        assert_eq!(request.metadata().get("x-mq-client-id").unwrap(), "tercet@7@00000000000000fe");
        assert_eq!(request.metadata().get("x-mq-language").unwrap(), "RUST");
    }
}
