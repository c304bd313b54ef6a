//! Routes as nodes and nameservers answer them, turned into orders of preference.

use tercet_proto::{headers, nameserver::v1 as ns, rocketmq::v2 as pb};

use super::table::Route;
use crate::endpoint::Endpoint;

/// A node's answer.
pub(crate) fn route_of(answer: &tonic::Response<pb::QueryRouteResponse>) -> Route {
    let order = endpoints_of_brokers(&answer.get_ref().message_queues);
    let leaderless = answer.metadata().get(headers::LEADER).is_some_and(|leader| leader == "unknown");
    if leaderless { Route::Leaderless(order) } else { Route::Led(order) }
}

/// Of a node's answer: the leader stands first in the endpoints of each broker name. Addresses that are no addresses
/// are skipped.
fn endpoints_of_brokers(queues: &[pb::MessageQueue]) -> Vec<Endpoint> {
    let mut order: Vec<Endpoint> = Vec::new();
    let addresses = queues
        .iter()
        .filter_map(|queue| queue.broker.as_ref()?.endpoints.as_ref())
        .flat_map(|endpoints| &endpoints.addresses);
    for address in addresses {
        let endpoint = u16::try_from(address.port).ok().and_then(|port| Endpoint::new(&address.host, port).ok());
        if let Some(endpoint) = endpoint.filter(|endpoint| !order.contains(endpoint)) {
            order.push(endpoint);
        }
    }
    order
}

/// A nameserver's answer: nodes come with the leader first.
pub(crate) fn endpoints_of_groups(groups: &[ns::GroupRoute]) -> Vec<Endpoint> {
    let mut order: Vec<Endpoint> = Vec::new();
    for broker in groups.iter().flat_map(|group| &group.nodes) {
        let address = broker.addresses.as_ref().and_then(|addresses| addresses.client.parse().ok());
        if let Some(endpoint) = address.filter(|endpoint| !order.contains(endpoint)) {
            order.push(endpoint);
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(addresses: &[(&str, i32)]) -> pb::MessageQueue {
        let addresses = addresses.iter().map(|&(host, port)| pb::Address { host: host.into(), port }).collect();
        let endpoints = Some(pb::Endpoints { scheme: pb::AddressScheme::IPv4 as i32, addresses });
        pb::MessageQueue {
            broker: Some(pb::Broker { name: "broker-0".into(), id: 0, endpoints }),
            ..Default::default()
        }
    }

    #[test]
    fn the_order_of_a_node_s_answer_is_kept_and_repeats_are_dropped() {
        let route = [queue(&[("l", 1), ("f", 2)]), queue(&[("l", 1), ("f", 2), ("bad host", 3), ("x", -1)])];
        let order = endpoints_of_brokers(&route);
        assert_eq!(order.iter().map(Endpoint::as_str).collect::<Vec<_>>(), ["l:1", "f:2"]);
    }

    #[test]
    fn a_node_that_knows_no_leader_says_so() {
        let mut answer = tonic::Response::new(pb::QueryRouteResponse {
            message_queues: vec![queue(&[("f", 2), ("l", 1)])],
            ..Default::default()
        });
        assert!(matches!(route_of(&answer), Route::Led(order) if order.len() == 2));
        answer.metadata_mut().insert(headers::LEADER, "unknown".parse().unwrap());
        assert!(matches!(route_of(&answer), Route::Leaderless(order) if order.len() == 2));
    }

    #[test]
    fn a_nameserver_s_nodes_count_by_their_client_address() {
        let node = |client: &str| ns::Broker {
            addresses: Some(ns::Addresses { client: client.into(), ..Default::default() }),
            ..Default::default()
        };
        let group = ns::GroupRoute { nodes: vec![node("l:1"), node(""), node("f:2")], ..Default::default() };
        let order = endpoints_of_groups(&[group]);
        assert_eq!(order.iter().map(Endpoint::as_str).collect::<Vec<_>>(), ["l:1", "f:2"]);
    }
}
