//! Who calls, as the request's headers say it. Only `x-mq-client-id` is required; whatever else is absent or odd is
//! ignored, because official clients differ in what they send.

use std::time::Duration;

use tercet_proto::rocketmq::v2::Code;
use tonic::metadata::MetadataMap;

use super::refusal::Refusal;
use crate::{forward::HOP_HEADER, limits::CLIENT_ID_BYTES_MAX};

/// The headers of a request that the broker acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// `x-mq-client-id`.
    pub client_id: String,
    /// Whether it is the Node client, which calls itself `HTTP`.
    pub node_client: bool,
    /// Whether it must be given one address: Node takes no more, and Go, Python and other clients on gRPC's own library
    /// put the whole list into `:authority` and SNI, where HTTP/2 and TLS refuse it. Java and Rust take several.
    pub single_address: bool,
    /// Whether another node forwarded the request.
    pub forwarded: bool,
    /// `grpc-timeout`: what the client waits at most.
    pub timeout: Option<Duration>,
    /// The namespace that QueryRoute echoes.
    pub namespace: String,
}

impl Caller {
    /// 40017 without a client id.
    pub fn of(metadata: &MetadataMap) -> Result<Caller, Refusal> {
        let client_id = text(metadata, "x-mq-client-id").unwrap_or_default().trim();
        if client_id.is_empty() {
            return Err(Refusal::new(Code::ClientIdRequired, "header x-mq-client-id is required"));
        }
        if client_id.len() > CLIENT_ID_BYTES_MAX {
            return Err(Refusal::new(
                Code::BadRequest,
                format!("header x-mq-client-id is longer than {CLIENT_ID_BYTES_MAX} bytes"),
            ));
        }
        Ok(Caller {
            client_id: client_id.to_owned(),
            node_client: text(metadata, "x-mq-language").is_some_and(is_node),
            single_address: text(metadata, "x-mq-language").is_some_and(|language| !takes_several_addresses(language)),
            forwarded: metadata.contains_key(HOP_HEADER),
            timeout: timeout(metadata),
            namespace: text(metadata, "x-mq-namespace").unwrap_or_default().to_owned(),
        })
    }
}

/// What the client waits at most, if it says so.
pub fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    text(metadata, "grpc-timeout").and_then(grpc_timeout)
}

/// The same from the headers of a request.
pub(crate) fn timeout_in(headers: &http::HeaderMap) -> Option<Duration> {
    headers.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(grpc_timeout)
}

fn text<'a>(metadata: &'a MetadataMap, header: &str) -> Option<&'a str> {
    metadata.get(header).and_then(|value| value.to_str().ok())
}

/// The Node client's language; upper or lower case, with or without the underscore.
fn is_node(language: &str) -> bool {
    ["HTTP", "NODEJS", "NODE_JS"].iter().any(|name| language.eq_ignore_ascii_case(name))
}

/// The languages whose clients were seen to connect to a list of addresses.
fn takes_several_addresses(language: &str) -> bool {
    ["JAVA", "RUST"].iter().any(|name| language.eq_ignore_ascii_case(name))
}

/// `<at most 8 digits><unit>`, as the gRPC specification has it. Anything else is no timeout.
fn grpc_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&'static str, &str)]) -> MetadataMap {
        let mut map = MetadataMap::new();
        for (key, value) in pairs {
            map.insert(*key, value.parse().expect("header value"));
        }
        map
    }

    #[test]
    fn client_id_is_required_and_the_rest_is_ignored_when_odd() {
        for pairs in [&[][..], &[("x-mq-client-id", "")], &[("x-mq-client-id", "  ")]] {
            assert_eq!(Caller::of(&metadata(pairs)).expect_err("blank").code, Code::ClientIdRequired);
        }
        let odd = metadata(&[("x-mq-client-id", "c"), ("x-mq-language", "KLINGON"), ("authorization", "junk")]);
        let caller = Caller::of(&odd).expect("odd headers are ignored");
        assert!(!caller.node_client && !caller.forwarded && caller.timeout.is_none());
    }

    #[test]
    fn node_clients_and_forwarded_requests_are_seen() {
        let map = metadata(&[("x-mq-client-id", "c"), ("x-mq-language", "HTTP"), (HOP_HEADER, "1")]);
        let caller = Caller::of(&map).expect("caller");
        assert!(caller.node_client && caller.single_address && caller.forwarded);
    }

    #[test]
    fn only_clients_that_can_connect_to_several_addresses_get_them() {
        for (language, single) in
            [("GOLANG", true), ("PYTHON", true), ("DOTNET", true), ("JAVA", false), ("rust", false)]
        {
            let map = metadata(&[("x-mq-client-id", "c"), ("x-mq-language", language)]);
            assert_eq!(Caller::of(&map).expect("caller").single_address, single, "{language}");
        }
    }

    #[test]
    fn timeouts_follow_the_grpc_specification() {
        let cases = [
            ("3S", Some(Duration::from_secs(3))),
            ("40000m", Some(Duration::from_secs(40))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("5000000u", Some(Duration::from_secs(5))),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("5x", None),
            ("-5S", None),
        ];
        for (value, expected) in cases {
            assert_eq!(grpc_timeout(value), expected, "{value}");
        }
    }
}
