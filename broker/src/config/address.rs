//! An address as people write it: a host name or an IP address, and a port.

use std::{fmt, str::FromStr};

/// `host:port`, checked for form only: names are resolved at each connect, so that an address may move (hazards 28).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// The host, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("`{text}` is not host:port"))?;
        let port: u16 = port.parse().map_err(|_| format!("`{text}` does not end in a port number"))?;
        if port == 0 {
            return Err(format!("`{text}` has port 0, which nobody can connect to"));
        }
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let host = match bracketed {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => v6,
            None if !host.is_empty() && host.chars().all(legal) => host,
            _ => return Err(format!("`{text}` has no valid host (an IPv6 address stands in brackets)")),
        };
        Ok(HostPort { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_read_back_as_written() {
        for text in ["localhost:8081", "10.0.0.7:1", "node_1.example.com:65535", "[::1]:8081"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_nobody_can_connect_to_is_refused() {
        for text in ["", "localhost", ":8081", "localhost:", "localhost:0", "a b:1", "::1:8081", "[x]:1", "h:65536"] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
