//! Nameserver and registrar over real sockets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use raft_log::{
    NodeAddresses,
    env::Env,
    types::{ClusterId, GroupId, NodeId, Term},
};
use tercet_proto::nameserver::v1::{
    ListBrokersRequest, QueryRouteRequest, RegisterRequest, name_server_client::NameServerClient,
    name_server_server::NameServerServer,
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, transport::Server};

use super::*;
use crate::{config::Discovery, listen, model::TopicType};

struct Running {
    address: SocketAddr,
    service: NameService,
    task: JoinHandle<()>,
}

fn nameserver(address: SocketAddr) -> Running {
    let port = listen::bind("nameserver.listen", address).unwrap();
    let address = port.local_addr().unwrap();
    let service = NameService::new(Routes::new(Duration::from_secs(15), 10), Env::real().clock);
    let server = Server::builder()
        .add_service(NameServerServer::new(service.clone()))
        .serve_with_incoming(TcpListenerStream::new(port));
    let task = tokio::spawn(async move { server.await.unwrap() });
    Running { address, service, task }
}

fn registration(role: Role) -> Registration {
    Registration {
        key: BrokerKey { cluster: ClusterId(9), group: GroupId(1), node: NodeId(2) },
        addresses: NodeAddresses { peer: "h:1".into(), client: "h:2".into(), http: "h:3".into() },
        role,
        term: Term(4),
        topics: vec![Topic { name: "orders".into(), queues: 3, kind: TopicType::Fifo }],
    }
}

fn discovery(nameservers: &[SocketAddr], interval: Duration) -> Discovery {
    let nameservers = nameservers.iter().map(|address| address.to_string().parse().unwrap());
    Discovery { nameservers: nameservers.collect(), heartbeat_interval: interval }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_broker_registers_with_all_and_one_dead_nameserver_hinders_nobody() {
    let (a, b) = (nameserver("127.0.0.1:0".parse().unwrap()), nameserver("127.0.0.1:0".parse().unwrap()));
    b.task.abort();
    until("the second nameserver is dead", || b.task.is_finished()).await;
    let (_changed, changes) = watch::channel(());
    let settings = discovery(&[b.address, a.address], Duration::from_millis(20));
    let registrar = Registrar::start(&settings, Arc::new(|| Some(registration(Role::Leader))), changes);
    until("the living one knows the broker", || a.service.brokers_known() == 1).await;

    let revived = nameserver(b.address);
    until("the revived one knows it by itself", || revived.service.brokers_known() == 1).await;

    let mut client = NameServerClient::connect(format!("http://{}", a.address)).await.unwrap();
    let route = client.query_route(QueryRouteRequest { topic: "orders".into() }).await.unwrap().into_inner();
    assert_eq!((route.groups[0].broker_name.as_str(), route.brokers_known), ("broker-1", 1));
    assert_eq!(route.groups[0].nodes[0].addresses.as_ref().unwrap().client, "h:2");
    let listed = client.list_brokers(ListBrokersRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.brokers[0].broker.as_ref().unwrap().node_id, 2);

    registrar.leave().await;
    assert_eq!((a.service.brokers_known(), revived.service.brokers_known()), (0, 0), "it said good-bye to both");
}

#[tokio::test]
async fn a_change_is_announced_before_the_interval_is_over() {
    let nameserver = nameserver("127.0.0.1:0".parse().unwrap());
    let (changed, changes) = watch::channel(());
    let (role, current) = watch::channel(None);
    let announcement: Announcement = Arc::new(move || current.borrow().map(registration));
    let settings = discovery(&[nameserver.address], Duration::from_secs(3600));
    let _registrar = Registrar::start(&settings, announcement, changes);
    role.send_replace(Some(Role::Leader));
    changed.send_replace(());
    until("the new role is known", || nameserver.service.brokers_known() == 1).await;
}

#[tokio::test]
async fn a_malformed_heartbeat_is_refused_by_name() {
    let nameserver = nameserver("127.0.0.1:0".parse().unwrap());
    let mut client = NameServerClient::connect(format!("http://{}", nameserver.address)).await.unwrap();
    let good = wire::register_request(&registration(Role::Leader), false);
    let mut cases = Vec::new();
    cases.push((RegisterRequest { broker: None, ..good.clone() }, "broker is absent"));
    let mut bad = good.clone();
    bad.broker.as_mut().unwrap().cluster_id = "xyz".into();
    cases.push((bad, "cluster_id"));
    let mut bad = good.clone();
    bad.broker.as_mut().unwrap().role = 77;
    cases.push((bad, "role 77"));
    let mut bad = good.clone();
    bad.broker.as_mut().unwrap().addresses.as_mut().unwrap().client = "nowhere".into();
    cases.push((bad, "addresses.client"));
    let mut bad = good.clone();
    bad.topics[0].queues = 0;
    cases.push((bad, "0 queues"));
    for (request, told) in cases {
        let status = client.register(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(told), "{told}: {}", status.message());
    }
    assert_eq!(nameserver.service.brokers_known(), 0);
}
