//! A group of three nodes in this process, and a client that speaks like the official ones.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use raft_log::{
    NodeAddresses, PeerListen, Replica, ReplicaOptions,
    env::{Clock, Env},
    types::{GroupId, NodeId},
};
use tercet_broker::{
    api::Api,
    grpc::ServiceOptions,
    limits,
    listen::{GrpcPort, PortOptions},
    metrics::{BacklogCollector, BacklogSources, Exposition, NodeLabels, Ports, ReserveCollector, Traffic},
    state::{State, StateReader},
};
use tercet_proto::{
    admin::v1::{
        BootstrapRequest, CreateGroupRequest, CreateTopicRequest, TopicType, Voter, admin_client::AdminClient,
    },
    rocketmq::v2::{
        AckMessageEntry, AckMessageRequest, AckMessageResponse, ChangeInvisibleDurationRequest,
        ChangeInvisibleDurationResponse, ForwardMessageToDeadLetterQueueRequest, Message, MessageQueue,
        ReceiveMessageRequest, Resource, SendMessageRequest, SendMessageResponse, SystemProperties,
        messaging_service_client::MessagingServiceClient, receive_message_response::Content,
    },
};
use tokio::runtime::Runtime;
use tonic::{Request, Response, Status, transport::Channel};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static SHARED: OnceLock<Group> = OnceLock::new();
static NAMES: AtomicU64 = AtomicU64::new(0);

/// Runs a test on the runtime that the shared group lives on.
pub(crate) fn run(test: impl Future<Output = ()>) {
    RUNTIME.block_on(async {
        tokio::time::timeout(Duration::from_secs(120), test).await.expect("the test ends in time");
    });
}

/// The group that most tests share; each uses its own topics and groups.
pub(crate) fn shared() -> &'static Group {
    static STARTING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = STARTING.lock();
    if SHARED.get().is_none() {
        let group = std::thread::spawn(|| RUNTIME.block_on(Group::start("shared"))).join().expect("a group");
        let _ = SHARED.set(group);
    }
    SHARED.get().expect("set above")
}

/// The groups live as long as their process, so nobody removes their folders then: the next run does.
fn remove_what_ended_runs_left(folders: &Path) {
    for folder in std::fs::read_dir(folders).expect("cargo made it").flatten() {
        let name = folder.file_name().into_string().unwrap_or_default();
        let of_a_run = name.strip_prefix("service-").and_then(|rest| rest.rsplit_once('-'));
        if of_a_run.is_some_and(|(_, process)| !Path::new("/proc").join(process).exists()) {
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }
}

/// A name that no other test uses.
pub(crate) fn fresh(prefix: &str) -> String {
    format!("{prefix}-{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

/// What a test may change of a node before it starts.
pub(crate) struct Setup {
    pub id: NodeId,
    pub env: Env,
    /// Where others are told that its client port is; at first where it is.
    pub advertised_client: String,
    pub auto_create_group: bool,
    /// Bytes of all publishes that wait to be stored.
    pub publish_bytes_max: usize,
    /// The same of what settles deliveries.
    pub settle_bytes_max: usize,
}

/// One node.
pub(crate) struct Node {
    pub id: NodeId,
    pub replica: Replica,
    pub api: Api,
    pub client: String,
    traffic: Traffic,
    state: StateReader,
    clock: Arc<dyn Clock>,
    port: Mutex<Option<GrpcPort>>,
}

/// Three of them.
pub(crate) struct Group {
    pub nodes: Vec<Node>,
    root: PathBuf,
}

impl Group {
    /// Starts, bootstraps, and waits until every node knows a leader and the state is seeded.
    pub(crate) async fn start(name: &str) -> Group {
        Group::start_with(name, |_| ()).await
    }

    /// The same with nodes that are set up differently.
    pub(crate) async fn start_with(name: &str, change: impl Fn(&mut Setup)) -> Group {
        let folders = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        remove_what_ended_runs_left(&folders);
        let root = folders.join(format!("service-{name}-{}", std::process::id()));
        let mut nodes = Vec::new();
        let mut voters = Vec::new();
        for id in 1..=3 {
            let (node, peer) = Node::start(&root, NodeId(id), &change).await;
            voters.push(Voter { node_id: node.id.0, peer });
            nodes.push(node);
        }
        // As an operator does it; it answers when the state is seeded.
        nodes[0].caller().admin().bootstrap(BootstrapRequest { voters }).await.expect("all are empty");
        let group = Group { nodes, root };
        group.leader().await;
        let topic = fresh("ready");
        for node in &group.nodes {
            node.caller().topic(&topic, 1, TopicType::Normal).await;
        }
        group
    }

    /// Starts an empty node that belongs to no group yet; answers with its peer address.
    pub(crate) async fn add_empty(&mut self, id: u64) -> String {
        let (node, peer) = Node::start(&self.root, NodeId(id), |_| ()).await;
        self.nodes.push(node);
        peer
    }

    /// The node that serves as leader.
    pub(crate) async fn leader(&self) -> &Node {
        let serving = self.nodes.iter().map(|node| {
            Box::pin(async move {
                let mut status = node.replica.watch();
                let serves = status.wait_for(|status| status.serving).await.is_ok();
                if !serves {
                    std::future::pending::<()>().await;
                }
                node
            })
        });
        futures::future::select_all(serving).await.0
    }

    /// A node that follows.
    pub(crate) async fn follower(&self) -> &Node {
        let leader = self.leader().await.id;
        self.nodes.iter().find(|node| node.id != leader).expect("there are three")
    }
}

impl Node {
    async fn start(root: &Path, id: NodeId, change: impl Fn(&mut Setup)) -> (Node, String) {
        let dir = root.join(id.to_string());
        std::fs::create_dir_all(&dir).expect("a folder");
        let peer_listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let peer = peer_listener.local_addr().expect("bound").to_string();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = listener.local_addr().expect("bound").to_string();
        let mut setup = Setup {
            id,
            env: Env::real(),
            advertised_client: client.clone(),
            auto_create_group: true,
            publish_bytes_max: limits::PENDING_BYTES_MAX,
            settle_bytes_max: limits::SETTLE_PENDING_BYTES_MAX,
        };
        change(&mut setup);
        let Setup { env, advertised_client, auto_create_group, publish_bytes_max, settle_bytes_max, .. } = setup;
        let state = State::open(&dir.join("state")).expect("a new state");
        let reader = state.reader();
        let advertised = NodeAddresses { peer: peer.clone(), client: advertised_client.clone(), http: String::new() };
        let options = ReplicaOptions {
            segment_bytes_max: 64 << 20,
            ..ReplicaOptions::new(id, GroupId(1), dir, PeerListen::Bound(peer_listener), advertised)
        };
        let replica = Replica::open(options, env.clone(), state).await.expect("a new replica");
        let service = ServiceOptions {
            auto_create_group,
            publish_bytes_in_flight_max: publish_bytes_max,
            settle_bytes_in_flight_max: settle_bytes_max,
            ..service_options(&advertised_client)
        };
        let traffic = service.traffic.clone();
        let (state, clock) = (reader.clone(), Arc::clone(&env.clock));
        let api = Api::start(service, replica.clone(), reader, &env);
        let options = PortOptions { name: "client", tls: None, connections_max: 1000, ports: Ports::default() };
        let port = Mutex::new(Some(GrpcPort::start(listener, options, api.services())));
        (Node { id, replica, api, client, traffic, state, clock, port }, peer)
    }

    /// Stops it in order: leadership goes to another.
    pub(crate) async fn stop(&self) {
        self.replica.shutdown().await;
        self.api.shutdown();
        drop(self.port.lock().expect("no panic").take());
    }

    /// The sum of a metric's lines that contain `words`.
    pub(crate) fn metric(&self, name: &str, words: &str) -> f64 {
        let text = self.scrape();
        let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(words));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// What it shows to monitoring.
    pub(crate) fn scrape(&self) -> String {
        let labels = NodeLabels { cluster: String::new(), node_type: "broker", node_id: self.id.to_string() };
        let (standing, replica, state) = (self.replica.watch_standing(), self.replica.clone(), self.state.clone());
        let sources = BacklogSources {
            serving: Box::new(move || standing.borrow().serving),
            now: Box::new(move || replica.stamp(state.clock())),
            clock: Arc::clone(&self.clock),
        };
        let exposition = Exposition::new(&labels, |registry| {
            self.traffic.register(registry);
            registry.register_collector(Box::new(BacklogCollector::new(self.state.clone(), sources, 1000)));
            let reserve = ReserveCollector::new(self.replica.clone(), self.state.clone());
            registry.register_collector(Box::new(reserve));
        });
        exposition.render()
    }

    /// A client of this node.
    pub(crate) fn caller(&self) -> Caller {
        let address = format!("http://{}", self.client);
        let channel = Channel::from_shared(address).expect("an address").connect_lazy();
        Caller { channel, client_id: fresh("client"), headers: Vec::new() }
    }
}

fn service_options(client: &str) -> ServiceOptions {
    ServiceOptions {
        unused_group_age: Duration::from_secs(3600),
        idle_group_age: Duration::from_secs(72 * 3600),
        group: GroupId(1),
        advertised_client: client.to_owned(),
        traffic: Traffic::default(),
        request_bytes_max: limits::REQUEST_BYTES_MAX,
        batch_bytes_max: limits::ENTRY_BYTES_TARGET,
        receive_bytes_max: 4 << 20,
        publish_bytes_in_flight_max: limits::PENDING_BYTES_MAX,
        settle_bytes_in_flight_max: limits::SETTLE_PENDING_BYTES_MAX,
        long_poll_max: Duration::from_secs(20),
        auto_create_group: true,
    }
}

/// A client of one node.
#[derive(Clone)]
pub(crate) struct Caller {
    pub channel: Channel,
    pub client_id: String,
    pub headers: Vec<(&'static str, String)>,
}

/// What a receive brought.
#[derive(Debug)]
pub(crate) struct Received {
    pub code: i32,
    /// The text of the status.
    pub text: String,
    pub messages: Vec<Message>,
}

impl Caller {
    pub(crate) fn messaging(&self) -> MessagingServiceClient<Channel> {
        MessagingServiceClient::new(self.channel.clone()).max_decoding_message_size(16 << 20)
    }

    pub(crate) fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel.clone())
    }

    pub(crate) fn with(&self, header: &'static str, value: impl ToString) -> Caller {
        let mut caller = self.clone();
        caller.headers.push((header, value.to_string()));
        caller
    }

    pub(crate) fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("x-mq-client-id", self.client_id.parse().expect("a header value"));
        for (header, value) in &self.headers {
            request.metadata_mut().insert(*header, value.parse().expect("a header value"));
        }
        request
    }

    pub(crate) async fn topic(&self, name: &str, queues: u32, kind: TopicType) {
        let request = CreateTopicRequest { name: name.to_owned(), queues, r#type: kind as i32 };
        self.admin().create_topic(request).await.expect("a topic");
    }

    pub(crate) async fn group(&self, request: CreateGroupRequest) {
        self.admin().create_group(request).await.expect("a group");
    }

    pub(crate) async fn send(&self, messages: Vec<Message>) -> Response<SendMessageResponse> {
        self.try_send(messages).await.expect("an answer")
    }

    pub(crate) async fn try_send(&self, messages: Vec<Message>) -> Result<Response<SendMessageResponse>, Status> {
        self.messaging().send_message(self.request(SendMessageRequest { messages })).await
    }

    /// Receives with a poll of 5 s, the shortest.
    pub(crate) async fn receive(&self, topic: &str, group: &str, batch: i32) -> Received {
        self.receive_by(receive_request(topic, group, batch)).await
    }

    pub(crate) async fn receive_by(&self, request: ReceiveMessageRequest) -> Received {
        let stream = self.messaging().receive_message(self.request(request)).await.expect("an answer");
        let mut stream = stream.into_inner();
        let (mut statuses, mut messages, mut ended) = (Vec::new(), Vec::new(), false);
        while let Some(item) = stream.message().await.expect("a whole stream") {
            assert!(!ended, "the delivery timestamp comes last");
            match item.content.expect("content") {
                Content::Status(status) => statuses.push(status),
                Content::Message(message) => messages.push(message),
                Content::DeliveryTimestamp(_) => ended = true,
            }
        }
        assert_eq!(statuses.len(), 1, "exactly one status");
        assert!(ended, "a delivery timestamp");
        let status = statuses.remove(0);
        Received { code: status.code, text: status.message, messages }
    }

    pub(crate) async fn ack(&self, topic: &str, group: &str, handles: &[String]) -> AckMessageResponse {
        let entry = |handle: &String| AckMessageEntry {
            message_id: String::from("not checked"),
            receipt_handle: handle.clone(),
            lite_topic: None,
        };
        let request = AckMessageRequest {
            group: Some(resource(group)),
            topic: Some(resource(topic)),
            entries: handles.iter().map(entry).collect(),
        };
        self.messaging().ack_message(self.request(request)).await.expect("an answer").into_inner()
    }

    /// Gives a delivery up; answers the code.
    pub(crate) async fn dead_letter(&self, topic: &str, group: &str, handle: &str) -> i32 {
        let request = ForwardMessageToDeadLetterQueueRequest {
            group: Some(resource(group)),
            topic: Some(resource(topic)),
            receipt_handle: handle.to_owned(),
            message_id: String::from("not checked"),
            ..Default::default()
        };
        let answer = self.messaging().forward_message_to_dead_letter_queue(self.request(request)).await;
        code(&answer.expect("an answer").into_inner().status)
    }

    pub(crate) async fn change(
        &self,
        topic: &str,
        group: &str,
        handle: &str,
        millis: i64,
    ) -> ChangeInvisibleDurationResponse {
        let request = ChangeInvisibleDurationRequest {
            group: Some(resource(group)),
            topic: Some(resource(topic)),
            receipt_handle: handle.to_owned(),
            invisible_duration: Some(duration(millis)),
            ..Default::default()
        };
        self.messaging().change_invisible_duration(self.request(request)).await.expect("an answer").into_inner()
    }
}

pub(crate) fn receive_request(topic: &str, group: &str, batch: i32) -> ReceiveMessageRequest {
    ReceiveMessageRequest {
        group: Some(resource(group)),
        message_queue: Some(MessageQueue { topic: Some(resource(topic)), ..Default::default() }),
        batch_size: batch,
        invisible_duration: Some(duration(10_000)),
        long_polling_timeout: Some(duration(5_000)),
        ..Default::default()
    }
}

pub(crate) fn duration(millis: i64) -> prost_types::Duration {
    prost_types::Duration { seconds: millis / 1000, nanos: (millis % 1000 * 1_000_000) as i32 }
}

pub(crate) fn resource(name: &str) -> Resource {
    Resource { resource_namespace: String::new(), name: name.to_owned() }
}

pub(crate) fn message(topic: &str, id: &str, body: impl Into<Bytes>) -> Message {
    Message {
        topic: Some(resource(topic)),
        user_properties: Default::default(),
        system_properties: Some(SystemProperties { message_id: id.to_owned(), ..Default::default() }),
        body: body.into(),
    }
}

pub(crate) fn grouped(topic: &str, id: &str, message_group: &str) -> Message {
    let mut message = message(topic, id, id.as_bytes().to_vec());
    system(&mut message).message_group = Some(message_group.to_owned());
    message
}

pub(crate) fn system(message: &mut Message) -> &mut SystemProperties {
    message.system_properties.as_mut().expect("set")
}

pub(crate) fn id(message: &Message) -> &str {
    &message.system_properties.as_ref().expect("set").message_id
}

pub(crate) fn handle(message: &Message) -> String {
    message.system_properties.as_ref().and_then(|system| system.receipt_handle.clone()).expect("a handle")
}

pub(crate) fn attempt(message: &Message) -> i32 {
    message.system_properties.as_ref().and_then(|system| system.delivery_attempt).expect("an attempt")
}

pub(crate) fn code(status: &Option<tercet_proto::rocketmq::v2::Status>) -> i32 {
    status.as_ref().expect("a status").code
}
