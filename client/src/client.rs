//! The client: connections, routes, and the loop that goes from node to node until one answers.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tercet_proto::{
    client::v1::Leadership,
    nameserver::v1::{self as ns, name_server_client::NameServerClient},
    rocketmq::v2::{self as pb, messaging_service_client::MessagingServiceClient},
};
use tokio::{sync::watch, time::Instant};
use tonic::{Status, transport::Channel};

use crate::{
    admin::Admin,
    backoff,
    code::Code,
    consumer::Consumer,
    endpoint::Endpoint,
    env,
    error::{Error, rpc_can_retry},
    leader_watch::LeaderWatch,
    options::{ClientOptions, ConsumerOptions, ProducerOptions},
    producer::Producer,
    route::{Fault, Route, RouteTable, endpoints_of_groups, route_of},
    transport::{AttemptError, Connections, Identity, Link},
    vigil::Asking,
};

/// A node that is asked for a route gets this long; another may know it too.
const ROUTE_TIMEOUT: Duration = Duration::from_secs(1);
/// Routes are not asked for more often than this, whatever fails.
const RELEARN_INTERVAL: Duration = Duration::from_millis(100);
/// Topics whose routes are remembered; beyond it the whole memory is dropped and asked for anew.
const TOPICS_MAX: usize = 4096;

/// Connections to a broker group, and what is known of its nodes. Clones share both.
///
/// Any node may be named: the leader is learned from whichever answers, and learned again the moment a request
/// fails. When no node and no nameserver answers, the last route stays in use.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    options: ClientOptions,
    identity: Identity,
    connections: Connections,
    table: Mutex<RouteTable>,
    /// When the route of a topic was last asked for.
    asked: Mutex<BTreeMap<Box<str>, Instant>>,
    relearning: AtomicBool,
    leader_watch: LeaderWatch,
    /// Where requests go while nothing fails, told to whoever waits for that to change.
    preferred: watch::Sender<Option<Endpoint>>,
    /// Of whoever waits for an answer and asks who leads.
    asking: Mutex<Asking>,
}

/// The one task that asks for routes; however it ends, the next one may begin.
struct Relearning(Arc<Shared>);

impl Drop for Relearning {
    fn drop(&mut self) {
        self.0.relearning.store(false, Ordering::Release);
    }
}

/// What came of one attempt, and at which node.
pub(crate) struct Attempt<T> {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) result: Result<T, AttemptError>,
}

/// An answer that carries a status of the protocol.
pub(crate) trait Answer {
    /// `None` where errors are gRPC errors instead.
    fn status(&self) -> Option<&pb::Status>;
}

impl Client {
    /// A client of the group that `endpoints` belong to, a list such as `node-1:8081,node-2:8081`. Nothing is sent
    /// until something is asked for.
    ///
    /// # Errors
    /// If the list is malformed.
    pub fn connect(endpoints: &str) -> Result<Self, Error> {
        Self::new(ClientOptions::new(Endpoint::parse_list(endpoints)?))
    }

    /// A client with these options.
    ///
    /// # Errors
    /// If an option is out of its bounds.
    pub fn new(options: ClientOptions) -> Result<Self, Error> {
        options.check()?;
        let shared = Shared {
            identity: new_identity(),
            connections: Connections::new(options.connect_timeout),
            table: Mutex::new(RouteTable::new(options.endpoints.clone())),
            asked: Mutex::new(BTreeMap::new()),
            relearning: AtomicBool::new(false),
            leader_watch: LeaderWatch::new(),
            preferred: watch::Sender::new(options.endpoints.first().cloned()),
            asking: Mutex::default(),
            options,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A producer with its own buffer and its own idempotence identity. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If an option is out of its bounds.
    pub fn producer(&self, options: ProducerOptions) -> Result<Producer, Error> {
        Producer::new(self.clone(), options)
    }

    /// A consumer of `topics` in `group`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If a name is malformed, `topics` is empty, or an option is out of its bounds.
    pub fn consumer<T: Into<String>>(
        &self,
        group: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
        options: ConsumerOptions,
    ) -> Result<Consumer, Error> {
        Consumer::new(self.clone(), group.into(), topics.into_iter().map(Into::into).collect(), options)
    }

    /// Administration of the broker group.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// The nodes in the order in which they are preferred: the leader first, as far as it is known.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.table().candidates().cloned().collect()
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        &self.shared.options
    }

    /// An identity for a producer or a consumer, which is a client to the broker.
    pub(crate) fn new_identity(&self) -> Identity {
        new_identity()
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// One attempt at the best node. A node that is silent is avoided from then on and its connection dropped.
    pub(crate) async fn attempt<T, Fut>(&self, timeout: Duration, send: impl FnOnce(Channel) -> Fut) -> Attempt<T>
    where
        Fut: Future<Output = Result<T, Status>>,
    {
        let best = self.table().pick(Instant::now());
        self.attempt_at(best, timeout, |link| send(link.channel), never).await
    }

    /// The same with all of the connection; given up when another leader than at its begin is known.
    pub(crate) async fn attempt_at_leader<T, Fut>(
        &self,
        topic: &str,
        timeout: Duration,
        send: impl FnOnce(Link) -> Fut,
    ) -> Attempt<T>
    where
        Fut: Future<Output = Result<T, Status>>,
    {
        self.shared.leader_watch.ensure(self.downgrade());
        let leader = self.preferred();
        let moot = async |endpoint: Endpoint| self.superseded(topic, &endpoint, leader.as_ref()).await;
        let best = self.table().pick(Instant::now());
        self.attempt_at(best, timeout, send, moot).await
    }

    /// Connecting counts for the timeout as well. Given up once `moot` says so.
    async fn attempt_at<T, Fut>(
        &self,
        endpoint: Option<Endpoint>,
        timeout: Duration,
        send: impl FnOnce(Link) -> Fut,
        moot: impl AsyncFnOnce(Endpoint),
    ) -> Attempt<T>
    where
        Fut: Future<Output = Result<T, Status>>,
    {
        let Some(endpoint) = endpoint else {
            let result = Err(AttemptError::NotSent("no nameserver knows a node".to_owned()));
            return Attempt { endpoint: None, result };
        };
        let begun = Instant::now();
        let late = || format!("no answer from {endpoint} within {timeout:?}");
        let connected = match tokio::time::timeout(timeout, self.shared.connections.get(&endpoint)).await {
            Ok(connected) => connected,
            Err(_) => Err(AttemptError::NotSent(late())),
        };
        let (link, result) = match connected {
            Err(error) => (None, Err(error)),
            Ok(link) => {
                let result = tokio::select! {
                    answer = tokio::time::timeout_at(begun + timeout, send(link.clone())) => match answer {
                        Ok(answer) => answer.map_err(AttemptError::of),
                        Err(_) => Err(AttemptError::Failed(Status::deadline_exceeded(late()))),
                    },
                    () = moot(endpoint.clone()) => Err(AttemptError::Failed(Status::unavailable(format!(
                        "no answer from {endpoint}, and the leader has changed"
                    )))),
                };
                (Some(link), result)
            }
        };
        if let Some(error) = result.as_ref().err().filter(|error| error.is_silence()) {
            tracing::debug!(%endpoint, error = error.words(), "a node is silent");
            if let Some(link) = link {
                self.shared.connections.forget(&endpoint, &link);
            }
            self.table().failed(&endpoint, Fault::Silent, begun, Instant::now());
        }
        Attempt { endpoint: Some(endpoint), result }
    }

    /// The node answered that it cannot serve now.
    pub(crate) fn unready(&self, endpoint: Option<&Endpoint>) {
        if let Some(endpoint) = endpoint {
            let now = Instant::now();
            self.table().failed(endpoint, Fault::Unready, now, now);
        }
    }

    /// The node did what it was asked for: it is not avoided any more.
    pub(crate) fn served(&self, endpoint: Option<&Endpoint>) {
        if let Some(endpoint) = endpoint {
            self.table().succeeded(endpoint, Instant::now());
        }
    }

    /// When this node last did what it was asked for, if no other has since.
    pub(crate) fn last_served(&self, endpoint: &Endpoint) -> Option<Instant> {
        self.table().last_served(endpoint)
    }

    /// Where requests go while nothing fails: the leader, as far as it is known.
    pub(crate) fn preferred(&self) -> Option<Endpoint> {
        self.table().candidates().next().cloned()
    }

    /// What a node said when it was asked. One that tells by itself knows better.
    pub(crate) fn learn(&self, route: Route) {
        if !*self.shared.leader_watch.stands().borrow() {
            self.change_table(|table| table.learn(route));
        }
    }

    /// What a node told by itself.
    pub(crate) fn hear_of_leader(&self, news: &Leadership) {
        let nodes = news.nodes.iter().filter_map(|node| node.parse().ok()).collect();
        self.change_table(|table| table.learn_term(news.term, news.leader.parse().ok(), nodes));
    }

    fn change_table(&self, change: impl FnOnce(&mut RouteTable)) {
        let mut table = self.table();
        change(&mut table);
        let preferred = table.candidates().next();
        // Under the lock of the table, so that the last change is told last.
        self.shared.preferred.send_if_modified(|told| {
            let changed = told.as_ref() != preferred;
            if changed {
                *told = preferred.cloned();
            }
            changed
        });
    }

    /// Where requests go while nothing fails, and each change of it.
    pub(crate) fn watch_preferred(&self) -> watch::Receiver<Option<Endpoint>> {
        self.shared.preferred.subscribe()
    }

    pub(crate) fn leader_watch(&self) -> &LeaderWatch {
        &self.shared.leader_watch
    }

    pub(crate) fn watch_post(&self, last: Option<&Endpoint>, fraction: f64) -> Option<Endpoint> {
        self.table().watch_post(last, fraction)
    }

    /// Whether this node leads, and others can say so when it does not any more.
    pub(crate) fn has_better_watch_post(&self, node: &Endpoint) -> bool {
        let table = self.table();
        table.is_preferred(node) && table.candidates().count() > 1
    }

    pub(crate) fn downgrade(&self) -> Weak<Shared> {
        Arc::downgrade(&self.shared)
    }

    pub(crate) fn upgrade(of: &Weak<Shared>) -> Option<Self> {
        of.upgrade().map(|shared| Self { shared })
    }

    /// `leader` was said to be the leader, or has shown it.
    pub(crate) fn prefer(&self, leader: &Endpoint) {
        self.change_table(|table| {
            if !table.is_preferred(leader) {
                let route = std::iter::once(leader.clone()).chain(table.candidates().cloned()).collect();
                table.learn(Route::Led(route));
            }
        });
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.shared.connections
    }

    pub(crate) fn asking(&self) -> std::sync::MutexGuard<'_, Asking> {
        self.shared.asking.lock().expect("no holder of this lock panics")
    }

    /// Whether requests go to `endpoint` while nothing fails.
    pub(crate) fn is_preferred(&self, endpoint: Option<&Endpoint>) -> bool {
        endpoint.is_some_and(|endpoint| self.table().is_preferred(endpoint))
    }

    /// Calls until a node gives a final answer or the call's time is up; an attempt that began in time may end after
    /// it. Only for calls that may be repeated.
    pub(crate) async fn call<T, Fut>(
        &self,
        call: &'static str,
        topic: Option<&str>,
        attempt_timeout: Duration,
        send: impl Fn(Channel) -> Fut,
    ) -> Result<T, Error>
    where
        T: Answer,
        Fut: Future<Output = Result<T, Status>>,
    {
        let started = Instant::now();
        let deadline = started + self.options().call_timeout;
        let mut tried: Vec<Endpoint> = Vec::new();
        let mut failures = 0;
        loop {
            let mut overloaded = false;
            self.learn_first_node(topic).await;
            let Attempt { endpoint, result } = match topic {
                Some(topic) => self.attempt_at_leader(topic, attempt_timeout, |link| send(link.channel)).await,
                None => self.attempt(attempt_timeout, &send).await,
            };
            tried.extend(endpoint.clone().filter(|endpoint| !tried.contains(endpoint)));
            let last = match judge(call, result) {
                Judged::Final(result) => {
                    self.served(endpoint.as_ref());
                    return result;
                }
                Judged::Unready(last) => {
                    self.unready(endpoint.as_ref());
                    last
                }
                Judged::Silent(last) => last,
                // An overloaded leader is still the leader.
                Judged::Overloaded(last) => {
                    overloaded = true;
                    last
                }
            };
            failures += 1;
            let delay = if overloaded { backoff::delay_overloaded } else { backoff::delay };
            let wait = delay(failures, env::random_fraction());
            if Instant::now() + wait >= deadline {
                let tried = if tried.is_empty() { "no node".to_owned() } else { join(&tried) };
                return Err(Error::Unavailable { call, waited: started.elapsed(), tried, last });
            }
            if let Some(topic) = topic {
                self.relearn_soon(topic);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Makes sure that the route of `topic` was asked for lately. Waits for the answer the first time only.
    pub(crate) async fn fresh_route(&self, topic: &str) {
        let asked = self.asked().get(topic).copied();
        match asked {
            None => self.relearn(topic).await,
            Some(at) if at.elapsed() >= self.options().route_refresh_interval => self.relearn_soon(topic),
            Some(_) => {}
        }
    }

    /// Asks for the route of `topic` in the background, unless that is under way. Waits first if it was asked for just
    /// now: the answer may have changed since.
    pub(crate) fn relearn_soon(&self, topic: &str) {
        if self.shared.relearning.swap(true, Ordering::AcqRel) {
            return;
        }
        let not_before = self.asked().get(topic).map(|asked| *asked + RELEARN_INTERVAL);
        let client = self.clone();
        let topic = topic.to_owned();
        let relearning = Relearning(Arc::clone(&self.shared));
        tokio::spawn(async move {
            let _relearning = relearning;
            if let Some(not_before) = not_before {
                tokio::time::sleep_until(not_before).await;
            }
            client.relearn(&topic).await;
        });
    }

    /// Asks nodes, then nameservers, until one answers; keeps the last route if none does.
    async fn relearn(&self, topic: &str) {
        {
            let mut asked = self.asked();
            if asked.len() >= TOPICS_MAX {
                asked.clear();
            }
            asked.insert(topic.into(), Instant::now());
        }
        // Each of them once: one that answers without a route is no worse than before, and would be picked again.
        let nodes = self.table().in_turn(Instant::now());
        for node in nodes {
            if let Some(route) = self.ask_node(node, topic).await {
                return self.learn(route);
            }
        }
        for nameserver in &self.options().nameservers {
            if let Some(route) = self.ask_nameserver(nameserver, topic).await {
                return self.learn(route);
            }
        }
        tracing::debug!(topic, "nobody knows a route; the last one stays in use");
    }

    async fn ask_node(&self, node: Endpoint, topic: &str) -> Option<Route> {
        let request = pb::QueryRouteRequest { topic: Some(resource(topic)), endpoints: None };
        let request = self.identity().request(request);
        let ask = |link: Link| async move { MessagingServiceClient::new(link.channel).query_route(request).await };
        let attempt = self.attempt_at(Some(node), ROUTE_TIMEOUT, ask, never).await;
        let route = route_of(&attempt.result.ok()?);
        (!route.is_empty()).then_some(route)
    }

    async fn ask_nameserver(&self, nameserver: &Endpoint, topic: &str) -> Option<Route> {
        let link = self.shared.connections.get(nameserver).await.ok()?;
        let mut client = NameServerClient::new(link.channel.clone());
        let mut request = tonic::Request::new(ns::QueryRouteRequest { topic: topic.to_owned() });
        request.set_timeout(ROUTE_TIMEOUT);
        match client.query_route(request).await {
            Ok(answer) => {
                let route = Route::Led(endpoints_of_groups(&answer.into_inner().groups));
                (!route.is_empty()).then_some(route)
            }
            Err(_) => {
                self.shared.connections.forget(nameserver, &link);
                None
            }
        }
    }

    /// Without any endpoint, a nameserver has to name a node first.
    pub(crate) async fn learn_first_node(&self, topic: Option<&str>) {
        let known = self.table().candidates().next().is_some();
        if !known {
            match topic {
                Some(topic) => self.relearn(topic).await,
                None => self.learn_any_node().await,
            }
        }
    }

    async fn learn_any_node(&self) {
        for nameserver in &self.options().nameservers {
            let Ok(link) = self.shared.connections.get(nameserver).await else { continue };
            let mut request = tonic::Request::new(ns::ListBrokersRequest {});
            request.set_timeout(ROUTE_TIMEOUT);
            let Ok(answer) = NameServerClient::new(link.channel).list_brokers(request).await else { continue };
            let nodes = answer.into_inner().brokers.into_iter().filter_map(|known| known.broker).collect();
            let route = Route::Led(endpoints_of_groups(&[ns::GroupRoute { nodes, ..Default::default() }]));
            if !route.is_empty() {
                return self.learn(route);
            }
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, RouteTable> {
        self.shared.table.lock().expect("no holder of this lock panics")
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, BTreeMap<Box<str>, Instant>> {
        self.shared.asked.lock().expect("no holder of this lock panics")
    }
}

/// For an attempt that nothing makes moot.
async fn never(_: Endpoint) {
    std::future::pending().await
}

fn new_identity() -> Identity {
    Identity::new(std::process::id(), u64::from_be_bytes(env::random_bytes()))
}

/// What an attempt means for a call that may be repeated.
enum Judged<T> {
    Final(Result<T, Error>),
    /// The node answered and could not do it now.
    Unready(String),
    /// The node answered that it has too much to do.
    Overloaded(String),
    /// The node did not answer.
    Silent(String),
}

fn judge<T: Answer>(call: &'static str, result: Result<T, AttemptError>) -> Judged<T> {
    let answer = match result {
        Ok(answer) => answer,
        Err(AttemptError::Failed(status)) if !rpc_can_retry(status.code()) && !is_local(&status) => {
            let message = status.message().to_owned();
            return Judged::Final(Err(Error::Rpc { call, code: status.code(), message }));
        }
        Err(error) if error.is_silence() => return Judged::Silent(error.words()),
        Err(error) => return Judged::Unready(error.words()),
    };
    let Some(status) = answer.status() else { return Judged::Final(Ok(answer)) };
    let code = Code(status.code);
    let message = status.message.clone();
    match code {
        Code::OK | Code::MULTIPLE_RESULTS | Code::MESSAGE_NOT_FOUND => Judged::Final(Ok(answer)),
        Code::TOO_MANY_REQUESTS => Judged::Overloaded(format!("{message} ({code})")),
        Code::HA_NOT_AVAILABLE => Judged::Unready(format!("{message} ({code})")),
        code if is_timeout(code) => Judged::Unready(format!("{message} ({code})")),
        code => Judged::Final(Err(Error::Refused { call, code, message })),
    }
}

/// Whether the gRPC error was made by this side's transport rather than answered by a node.
fn is_local(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

fn is_timeout(code: Code) -> bool {
    (50_400..50_500).contains(&code.0)
}

fn join(endpoints: &[Endpoint]) -> String {
    endpoints.iter().map(Endpoint::as_str).collect::<Vec<_>>().join(", ")
}

/// A topic or a group by its name.
pub(crate) fn resource(name: &str) -> pb::Resource {
    pb::Resource { resource_namespace: String::new(), name: name.to_owned() }
}

/// An answer without a status: its errors are gRPC errors.
#[derive(Debug)]
pub(crate) struct Plain<T>(pub(crate) T);

impl<T> Answer for Plain<T> {
    fn status(&self) -> Option<&pb::Status> {
        None
    }
}
