//! Nodes of a broker group that answer by a script, in this process, over real connections.
//!
//! All nodes of a [`Group`] share one store, as replicas do. A node answers each publish with the next step of
//! the script; when that is exhausted, it serves. A stream of deliveries is handed to the test, which speaks for the node. The store knows producers and sequences as the broker
//! does: a repeat gets the first result. What it is not: a model of the broker's own rules.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
#![allow(dead_code, reason = "each test file uses a part of this module")]

mod admin;
mod consume;
mod leader;
mod service;

use admin::SlowAdmin;
pub(crate) use consume::Call;
use leader::News;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use tercet_proto::{
    client::v1::{
        consume_service_server::ConsumeServiceServer, leader_service_server::LeaderServiceServer,
        publish_service_server::PublishServiceServer,
    },
    rocketmq::v2::{self as pb, messaging_service_server::MessagingServiceServer},
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::{Semaphore, mpsc},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

/// What a node does with a publish.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Stores and says so.
    Serve,
    /// Answers with this code and stores nothing.
    Code(i32),
    /// Answers so if a message of the request has this body, else serves; again and again.
    Refuses(i32, &'static [u8]),
    /// Answers with this code and `x-tercet-outcome: unknown`, and stores nothing.
    CodeInDoubt(i32),
    /// Fails with this gRPC error and stores nothing.
    Grpc(tonic::Code),
    /// Stores, and fails with this gRPC error all the same.
    StoreThenGrpc(tonic::Code),
    /// Stores, and never answers.
    StoreThenHang,
    /// Never answers and stores nothing.
    Hang,
    /// Waits until the test opens the gate, then serves.
    AtGate,
}

/// A publish as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Publish {
    pub(crate) node: usize,
    pub(crate) producer: String,
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) lowest: u64,
    pub(crate) again: bool,
    pub(crate) messages: Vec<pb::Message>,
}

/// A message in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) group: Option<String>,
    pub(crate) body: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) script: VecDeque<Step>,
    pub(crate) publishes: Vec<Publish>,
    pub(crate) kept: Vec<Kept>,
    pub(crate) results: BTreeMap<(String, u64, u64), u64>,
    /// Client addresses, the leader's first: what QueryRoute answers. Empty: it fails.
    pub(crate) route: Vec<String>,
    pub(crate) route_asked: usize,
    /// QueryRoute never answers, and how many wait for it.
    pub(crate) route_hangs: bool,
    pub(crate) route_hanging: usize,
    /// How often a stream was opened.
    pub(crate) streams: usize,
    /// Requests that are being served, by producer, and the most at a time.
    pub(crate) busy: BTreeMap<String, usize>,
    pub(crate) busiest: usize,
}

/// A broker group of scripted nodes.
pub(crate) struct Group {
    pub(crate) shared: Arc<Mutex<Shared>>,
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) news: News,
    pub(crate) admin: SlowAdmin,
    calls: tokio::sync::Mutex<mpsc::UnboundedReceiver<Call>>,
    nodes: Vec<Node>,
}

/// A node has a runtime of its own, so that killing it ends its connections too.
struct Node {
    address: String,
    runtime: Option<Runtime>,
}

impl Group {
    /// Starts `count` nodes, the first one the leader of the route. Every other one, the first too, knows the stream.
    pub(crate) async fn start(count: usize, script: impl IntoIterator<Item = Step>) -> Self {
        Self::start_nodes(count, script, true).await
    }

    /// The same with nodes of which none knows the stream.
    pub(crate) async fn start_without_streams(count: usize, script: impl IntoIterator<Item = Step>) -> Self {
        Self::start_nodes(count, script, false).await
    }

    async fn start_nodes(count: usize, script: impl IntoIterator<Item = Step>, streams: bool) -> Self {
        let shared = Arc::new(Mutex::new(Shared { script: script.into_iter().collect(), ..Shared::default() }));
        let gate = Arc::new(Semaphore::new(0));
        let (called, calls) = mpsc::unbounded_channel();
        let (news, admin) = (News::new(), SlowAdmin::default());
        let mut nodes = Vec::new();
        for node in 0..count {
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let service = service::Service { node, shared: Arc::clone(&shared), gate: Arc::clone(&gate) };
            let messaging = MessagingServiceServer::new(service.clone()).max_decoding_message_size(16 << 20);
            let publishing = PublishServiceServer::new(service).max_decoding_message_size(16 << 20);
            let consuming = ConsumeServiceServer::new(consume::Service { node, called: called.clone() });
            let (leading, admin) = (LeaderServiceServer::new(news.clone()), admin.clone());
            // What knows no streams is asked by calls, also beside those that know them.
            let publishing = (node % 2 == 0 && streams).then_some(publishing);
            runtime.spawn(async move {
                let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
                let server = Server::builder().add_service(messaging).add_service(consuming).add_service(leading);
                let server = server.add_service(admin);
                let server = server.add_optional_service(publishing);
                server.serve_with_incoming(incoming).await.unwrap();
            });
            nodes.push(Node { address, runtime: Some(runtime) });
        }
        let group = Self { shared, gate, news, admin, calls: tokio::sync::Mutex::new(calls), nodes };
        group.lock().route = (0..count).map(|node| group.address(node)).collect();
        group
    }

    pub(crate) fn address(&self, node: usize) -> String {
        self.nodes[node].address.clone()
    }

    /// All addresses, joined as an endpoint list.
    pub(crate) fn addresses(&self) -> String {
        self.nodes.iter().map(|node| node.address.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Stops listening and closes the connections of a node.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].stop();
    }

    /// All nodes say that this one leads.
    pub(crate) fn tell_leader(&self, term: u64, node: usize) {
        let nodes = (0..self.nodes.len()).map(|node| self.address(node)).collect();
        self.news.tell(term, &self.address(node), nodes);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    /// The next stream of deliveries that is opened, at whichever node; fails after ten seconds.
    pub(crate) async fn call(&self) -> Call {
        let next = async { self.calls.lock().await.recv().await };
        tokio::time::timeout(std::time::Duration::from_secs(10), next).await.expect("a stream is opened").unwrap()
    }

    pub(crate) fn publishes(&self) -> Vec<Publish> {
        self.lock().publishes.clone()
    }

    /// Waits until the condition holds; panics after ten seconds.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Shared) -> bool) {
        for _ in 0..10_000 {
            if condition(&self.lock()) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("never happened: {what}");
    }
}

impl Node {
    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Stores the messages of a publish, or finds the result of the first time; returns the first offset.
    pub(crate) fn store(&mut self, publish: &Publish) -> u64 {
        let key = (publish.producer.clone(), publish.epoch, publish.sequence);
        if let Some(offset) = self.results.get(&key) {
            return *offset;
        }
        let first = self.kept.len() as u64;
        for message in &publish.messages {
            let system = message.system_properties.clone().unwrap();
            let body = message.body.to_vec();
            self.kept.push(Kept { id: system.message_id, group: system.message_group, body });
        }
        self.results.insert(key, first);
        first
    }
}
