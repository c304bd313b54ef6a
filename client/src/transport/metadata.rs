//! gRPC metadata: who calls, and what makes a publish repeatable.

use std::time::UNIX_EPOCH;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use tercet_proto::headers;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

use crate::{env, options::Credentials};

/// What every request of a client carries.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    metadata: MetadataMap,
    credentials: Option<Credentials>,
}

impl Identity {
    /// `instance` tells this client from the others of this process and of every other one.
    pub(crate) fn new(process: u32, instance: u64, credentials: Option<Credentials>) -> Self {
        let client_id = format!("tercet@{process}@{instance:016x}");
        let mut metadata = MetadataMap::with_capacity(8);
        metadata.insert("x-mq-client-id", ascii(&client_id));
        metadata.insert("x-mq-language", MetadataValue::from_static("RUST"));
        metadata.insert("x-mq-client-version", MetadataValue::from_static(env!("CARGO_PKG_VERSION")));
        metadata.insert("x-mq-protocol", MetadataValue::from_static("GRPC_V2"));
        if let Some(token) = credentials.as_ref().and_then(|credentials| credentials.session_token.as_deref()) {
            metadata.insert("x-mq-session-token", ascii(token));
        }
        Self { metadata, credentials }
    }

    /// A request with this identity, signed if it has credentials.
    pub(crate) fn request<T>(&self, body: T) -> tonic::Request<T> {
        let mut metadata = self.metadata.clone();
        if let Some(credentials) = &self.credentials {
            // A time that everybody reads in the same way.
            let now = humantime::format_rfc3339_seconds(UNIX_EPOCH + env::wall_clock()).to_string();
            metadata.insert("authorization", ascii(&authorization(credentials, &now)));
            metadata.insert("x-mq-date-time", ascii(&now));
        }
        tonic::Request::from_parts(metadata, http::Extensions::new(), body)
    }
}

/// As RocketMQ's clients sign: the time of the request, by the secret.
fn authorization(credentials: &Credentials, date_time: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(&credentials.secret).expect("a key of any length will do");
    mac.update(date_time.as_bytes());
    let signature = hex::encode_upper(mac.finalize().into_bytes());
    format!("MQv2-HMAC-SHA1 Credential={}, SignedHeaders=x-mq-date-time, Signature={signature}", credentials.access_key)
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
    text.parse().expect("visible ASCII is legal in metadata")
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
        let identity = Identity::new(7, 0xFE, None);
        let request = identity.request(());
        assert_eq!(request.metadata().get("x-mq-client-id").unwrap(), "tercet@7@00000000000000fe");
        assert_eq!(request.metadata().get("x-mq-language").unwrap(), "RUST");
        assert!(!request.metadata().contains_key("authorization"));
    }

    /// The signature by another program: `printf %s 2026-11-30T00:00:00Z | openssl dgst -sha1 -hmac secret`.
    #[test]
    fn credentials_sign_the_time_of_the_request() {
        let credentials = Credentials::new("key", "secret").unwrap().session_token("token").unwrap();
        let expected = "MQv2-HMAC-SHA1 Credential=key, SignedHeaders=x-mq-date-time, Signature=E3ACD166DE33271109BAB9626F126F7E4B03D8EE";
        assert_eq!(authorization(&credentials, "2026-11-30T00:00:00Z"), expected);
        let request = Identity::new(7, 0xFE, Some(credentials.clone())).request(());
        let text = |name| request.metadata().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(text("authorization"), authorization(&credentials, &text("x-mq-date-time")));
        assert_eq!(text("x-mq-session-token"), "token");
    }
}
