//! Advertised addresses as clients take them.
//!
//! All addresses of an endpoint must be of one scheme, and clients take a single address only when it is a domain name
//! (Java); so those get the first, which is the leader's.

use tercet_proto::rocketmq::v2::{Address, AddressScheme, Endpoints};

/// The endpoint of these `host:port` addresses, the preferred one first. Those that cannot be parsed are left out.
pub fn endpoints<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Endpoints {
    let parsed: Vec<(AddressScheme, Address)> = addresses.into_iter().filter_map(parse).collect();
    let scheme = parsed.first().map_or(AddressScheme::Unspecified, |(scheme, _)| *scheme);
    let count_max = if scheme == AddressScheme::DomainName { 1 } else { usize::MAX };
    let addresses = parsed.into_iter().filter(|(other, _)| *other == scheme).map(|(_, address)| address);
    Endpoints { scheme: scheme as i32, addresses: addresses.take(count_max).collect() }
}

fn parse(text: &str) -> Option<(AddressScheme, Address)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = i32::from(port.parse::<u16>().ok()?);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let scheme = match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => AddressScheme::IPv4,
        Ok(std::net::IpAddr::V6(_)) => AddressScheme::IPv6,
        Err(_) if host.is_empty() => return None,
        Err(_) => AddressScheme::DomainName,
    };
    Some((scheme, Address { host: host.to_owned(), port }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(addresses: &[&str]) -> (AddressScheme, Vec<String>) {
        let endpoints = endpoints(addresses.iter().copied());
        let texts = endpoints.addresses.iter().map(|a| format!("{}|{}", a.host, a.port)).collect();
        (endpoints.scheme(), texts)
    }

    #[test]
    fn all_addresses_of_the_first_ones_scheme_are_given() {
        let (scheme, texts) = shown(&["10.0.0.1:1", "10.0.0.2:2", "name:3"]);
        assert_eq!((scheme, texts), (AddressScheme::IPv4, vec!["10.0.0.1|1".to_owned(), "10.0.0.2|2".to_owned()]));
        assert_eq!(shown(&["[::1]:1", "10.0.0.2:2"]), (AddressScheme::IPv6, vec!["::1|1".to_owned()]));
    }

    #[test]
    fn of_domain_names_there_is_one() {
        assert_eq!(shown(&["a:1", "b:2"]), (AddressScheme::DomainName, vec!["a|1".to_owned()]));
    }

    #[test]
    fn what_is_no_address_is_left_out() {
        assert_eq!(shown(&["", "x", ":1", "h:99999"]), (AddressScheme::Unspecified, vec![]));
    }
}
