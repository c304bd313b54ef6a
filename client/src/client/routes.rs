//! Asking nodes and nameservers for routes.

use std::{sync::atomic::Ordering, time::Duration};

use tercet_proto::{
    nameserver::v1::{self as ns, name_server_client::NameServerClient},
    rocketmq::v2::{self as pb, messaging_service_client::MessagingServiceClient},
};
use tokio::time::Instant;

use super::{Client, never, resource};
use crate::{
    endpoint::Endpoint,
    route::{Route, endpoints_of_groups, route_of},
    transport::Link,
};

/// A node that is asked for a route gets this long; another may know it too.
const ROUTE_TIMEOUT: Duration = Duration::from_secs(1);
/// Routes are not asked for more often than this, whatever fails.
const RELEARN_INTERVAL: Duration = Duration::from_millis(100);
/// Topics whose routes are remembered; beyond it the whole memory is dropped and asked for anew.
const TOPICS_MAX: usize = 4096;

/// The one task that asks for routes; however it ends, the next one may begin.
struct Relearning(Client);

impl Drop for Relearning {
    fn drop(&mut self) {
        self.0.shared.relearning.store(false, Ordering::Release);
    }
}

impl Client {
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
        let topic = topic.to_owned();
        let relearning = Relearning(self.clone());
        tokio::spawn(async move {
            if let Some(not_before) = not_before {
                tokio::time::sleep_until(not_before).await;
            }
            relearning.0.relearn(&topic).await;
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
}
