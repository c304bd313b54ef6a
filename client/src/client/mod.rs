//! The client: connections, and the loop that goes from node to node until one answers.

mod answer;
mod judged;
mod routes;

pub(crate) use answer::{Answer, Plain};

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, Weak, atomic::AtomicBool},
    time::Duration,
};

use tercet_proto::{client::v1::Leadership, rocketmq::v2 as pb};
use tokio::{sync::watch, time::Instant};
use tonic::{Status, transport::Channel};

use self::judged::{Judged, judge};
use crate::{
    asking::Asking,
    backoff,
    endpoint::Endpoint,
    env,
    error::Error,
    leader_watch::LeaderWatch,
    options::{ClientOptions, Credentials},
    route::{Fault, Route, RouteTable},
    transport::{AttemptError, Connections, Identity, Link, Tls},
};

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

/// What came of one attempt, and at which node.
pub(crate) struct Attempt<T> {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) result: Result<T, AttemptError>,
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
        let tls = options.tls.clone().map(Tls::new).transpose()?;
        let shared = Shared {
            identity: new_identity(options.credentials.as_ref()),
            connections: Connections::new(options.connect_timeout, tls),
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

    /// The nodes in the order in which they are preferred: the leader first, as far as it is known.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.table().candidates().cloned().collect()
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        &self.shared.options
    }

    /// An identity of its own for whoever is a client to the broker: a producer, a consumer.
    pub(crate) fn new_identity(&self) -> Identity {
        new_identity(self.options().credentials.as_ref())
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
        self.ensure_watched();
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

fn new_identity(credentials: Option<&Credentials>) -> Identity {
    Identity::new(std::process::id(), u64::from_be_bytes(env::random_bytes()), credentials.cloned())
}

fn join(endpoints: &[Endpoint]) -> String {
    endpoints.iter().map(Endpoint::as_str).collect::<Vec<_>>().join(", ")
}

/// A topic or a group by its name.
pub(crate) fn resource(name: &str) -> pb::Resource {
    pb::Resource { resource_namespace: String::new(), name: name.to_owned() }
}
