//! The table under a clock that the test moves.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn key(group: u32, node: u64) -> BrokerKey {
    BrokerKey { cluster: ClusterId(7), group: GroupId(group), node: NodeId(node) }
}

fn said(group: u32, node: u64, role: Role, term: u64, topics: &[(&str, u32)]) -> Registration {
    let host = |port: u32| format!("node{node}.group{group}:{port}");
    let topics = topics.iter().map(|(name, queues)| Topic {
        name: (*name).to_owned(),
        queues: *queues,
        kind: TopicType::Normal,
    });
    Registration {
        key: key(group, node),
        addresses: NodeAddresses { peer: host(10911), client: host(8081), http: host(8080) },
        role,
        term: Term(term),
        topics: topics.collect(),
    }
}

fn table() -> Routes {
    Routes::new(15 * SECOND, 4)
}

fn node_ids(route: &GroupRoute<'_>) -> Vec<u64> {
    route.nodes.iter().map(|node| node.key.node.0).collect()
}

#[test]
fn a_topic_leads_to_its_group_the_leader_first() {
    let mut routes = table();
    for (node, role) in [(1, Role::Follower), (2, Role::Follower), (3, Role::Leader)] {
        routes.register(SECOND, said(1, node, role, 5, &[("orders", 4)])).unwrap();
    }
    let found = routes.route(2 * SECOND, "orders");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].topic.queues, node_ids(&found[0])), (4, vec![3, 1, 2]));
    assert!(routes.route(2 * SECOND, "payments").is_empty());
}

#[test]
fn a_silent_broker_leaves_after_exactly_the_limit() {
    let mut routes = table();
    routes.register(SECOND, said(1, 1, Role::Leader, 1, &[("orders", 1)])).unwrap();
    assert_eq!(routes.route(16 * SECOND - Duration::from_millis(1), "orders").len(), 1);
    assert!(routes.route(16 * SECOND, "orders").is_empty(), "not even before it is expired");
    assert_eq!(routes.brokers(16 * SECOND).count(), 0);
    assert_eq!(routes.expire(16 * SECOND), [key(1, 1)]);
}

#[test]
fn a_heartbeat_keeps_a_broker_and_replaces_what_it_said() {
    let mut routes = table();
    routes.register(SECOND, said(1, 1, Role::Leader, 1, &[("orders", 1)])).unwrap();
    routes.register(10 * SECOND, said(1, 1, Role::Follower, 2, &[("orders", 2)])).unwrap();
    assert!(routes.expire(20 * SECOND).is_empty());
    let known: Vec<_> = routes.brokers(20 * SECOND).collect();
    assert_eq!((known[0].silent, known[0].registration.role), (10 * SECOND, Role::Follower));
    assert_eq!(routes.route(20 * SECOND, "orders")[0].topic.queues, 2);
}

#[test]
fn of_two_leaders_the_higher_term_is_right() {
    let mut routes = table();
    routes.register(SECOND, said(1, 1, Role::Leader, 5, &[("old", 1)])).unwrap();
    routes.register(SECOND, said(1, 2, Role::Leader, 6, &[("old", 1), ("new", 1)])).unwrap();
    assert_eq!(node_ids(&routes.route(SECOND, "new")[0]), [2, 1]);
    assert_eq!(node_ids(&routes.route(SECOND, "old")[0]), [2, 1]);
}

#[test]
fn without_a_leader_the_followers_still_lead_clients_to_the_group() {
    let mut routes = table();
    routes.register(SECOND, said(1, 1, Role::Follower, 5, &[("orders", 1)])).unwrap();
    routes.register(SECOND, said(1, 2, Role::Follower, 6, &[("orders", 3)])).unwrap();
    let found = routes.route(SECOND, "orders");
    assert_eq!((found[0].topic.queues, node_ids(&found[0])), (3, vec![1, 2]));
}

#[test]
fn a_topic_may_be_spread_over_groups() {
    let mut routes = table();
    routes.register(SECOND, said(2, 1, Role::Leader, 1, &[("orders", 2)])).unwrap();
    routes.register(SECOND, said(1, 1, Role::Leader, 1, &[("orders", 4)])).unwrap();
    let found = routes.route(SECOND, "orders");
    assert_eq!(found.iter().map(|route| (route.group.0, route.topic.queues)).collect::<Vec<_>>(), [(1, 4), (2, 2)]);
}

#[test]
fn a_node_that_leaves_is_gone_at_once() {
    let mut routes = table();
    routes.register(SECOND, said(1, 1, Role::Leader, 1, &[("orders", 1)])).unwrap();
    routes.leave(key(1, 1));
    assert!(routes.route(SECOND, "orders").is_empty());
}

#[test]
fn a_full_table_refuses_newcomers_and_keeps_hearing_the_known() {
    let mut routes = table();
    for node in 1..=4 {
        routes.register(SECOND, said(1, node, Role::Follower, 1, &[])).unwrap();
    }
    let newcomer = said(1, 5, Role::Follower, 1, &[]);
    assert_eq!(routes.register(2 * SECOND, newcomer.clone()), Err(RegisterError::Full { brokers_max: 4 }));
    routes.register(10 * SECOND, said(1, 1, Role::Follower, 1, &[])).unwrap();
    routes.register(16 * SECOND, newcomer).expect("three of them fell silent");
    assert_eq!(routes.brokers(16 * SECOND).count(), 2);
}
