//! Addresses of nodes, parsed at the door.

use std::{fmt, str::FromStr, sync::Arc};

/// Most endpoints that one list may name.
pub const ENDPOINTS_MAX: usize = 64;

/// The client address of a node: `host:port`, where the host is a name, an IPv4 address or an IPv6 address in
/// brackets. The name is resolved at each connect.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(Arc<str>);

/// A text that is no endpoint, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad endpoint {text:?}: {problem}; expected HOST:PORT, for example 127.0.0.1:8081")]
pub struct EndpointError {
    text: String,
    problem: &'static str,
}

impl Endpoint {
    /// From a host, with or without brackets around an IPv6 address, and a port.
    ///
    /// # Errors
    /// If the host is empty or contains characters that no host has, or the port is 0.
    pub fn new(host: &str, port: u16) -> Result<Self, EndpointError> {
        if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]:{port}").parse()
        } else {
            format!("{host}:{port}").parse()
        }
    }

    /// `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses a comma-separated list such as `node-1:8081,node-2:8081`, dropping repeats.
    ///
    /// # Errors
    /// If the list is empty, has more than [`ENDPOINTS_MAX`] items, or an item is no endpoint.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, EndpointError> {
        let mut endpoints: Vec<Self> = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let endpoint = item.parse()?;
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        let refuse = |problem| Err(EndpointError { text: text.to_owned(), problem });
        match endpoints.len() {
            0 => refuse("the list is empty"),
            count if count > ENDPOINTS_MAX => refuse("more than 64 endpoints"),
            _ => Ok(endpoints),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |problem| Err(EndpointError { text: text.to_owned(), problem });
        let Some((host, port)) = text.rsplit_once(':') else { return refuse("the port is missing") };
        if host.is_empty() {
            return refuse("the host is missing");
        }
        if !port.bytes().all(|digit| digit.is_ascii_digit()) || port.parse::<u16>().is_ok_and(|port| port == 0) {
            return refuse("the port is not a number from 1 to 65535");
        }
        if port.parse::<u16>().is_err() {
            return refuse("the port is not a number from 1 to 65535");
        }
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let legal = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)),
        };
        if legal { Ok(Self(text.into())) } else { refuse("the host is neither a name nor an IP address") }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_taken() {
        for text in ["localhost:8081", "127.0.0.1:1", "[::1]:65535", "node-1.example_net:80"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().as_str(), text);
        }
        assert_eq!(Endpoint::new("::1", 80).unwrap().as_str(), "[::1]:80");
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        for (text, reason) in [
            ("localhost", "port is missing"),
            (":80", "host is missing"),
            ("a:0", "port is not"),
            ("a:65536", "port is not"),
            ("a:", "port is not"),
            ("a:+1", "port is not"),
            ("http://a:80", "neither a name"),
            ("[::x]:80", "neither a name"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(text), "{text}: {error}");
        }
    }

    #[test]
    fn a_list_drops_repeats_and_may_not_be_empty() {
        let list = Endpoint::parse_list("a:1, b:2,,a:1").unwrap();
        assert_eq!(list.iter().map(Endpoint::as_str).collect::<Vec<_>>(), ["a:1", "b:2"]);
        assert!(Endpoint::parse_list(" , ").is_err());
    }
}
