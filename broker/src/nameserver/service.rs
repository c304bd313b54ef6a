//! The gRPC face of the route table.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
    registry::Registry,
};
use raft_log::env::Clock;
use tercet_proto::nameserver::v1::{
    ListBrokersRequest, ListBrokersResponse, QueryRouteRequest, QueryRouteResponse, RegisterRequest, RegisterResponse,
    name_server_server::NameServer,
};
use tonic::{Request, Response, Status};

use super::{routes::Routes, wire};

/// Answers brokers and clients from one table.
#[derive(Clone)]
pub struct NameService {
    routes: Arc<Mutex<Routes>>,
    clock: Arc<dyn Clock>,
}

impl NameService {
    /// A service over an empty table.
    #[must_use]
    pub fn new(routes: Routes, clock: Arc<dyn Clock>) -> NameService {
        NameService { routes: Arc::new(Mutex::new(routes)), clock }
    }

    /// Brokers that are in the routes now.
    #[must_use]
    pub fn brokers_known(&self) -> usize {
        self.routes().brokers(self.clock.monotonic()).count()
    }

    /// Forgets silent brokers, so that they take no memory; they are in no answer anyway.
    pub fn expire(&self) {
        let now = self.clock.monotonic();
        for gone in self.routes().expire(now) {
            tracing::info!(cluster = %gone.cluster, group = %gone.group, node = %gone.node, "a broker fell silent");
        }
    }

    /// Puts the size of the table into a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(BrokersKnown(self.clone())));
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        // The table's methods leave it whole at every step, so a panic elsewhere has not broken it.
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl NameServer for NameService {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        let request = request.into_inner();
        let leaving = request.leaving;
        let registration = wire::registration(request).map_err(Status::invalid_argument)?;
        let now = self.clock.monotonic();
        let mut routes = self.routes();
        if leaving {
            routes.leave(registration.key);
        } else {
            routes.register(now, registration).map_err(|full| Status::resource_exhausted(full.to_string()))?;
        }
        let silent_millis_max =
            u64::try_from(routes.silent_max().as_millis()).expect("bounded to minutes by its setting");
        Ok(Response::new(RegisterResponse { silent_millis_max }))
    }

    async fn query_route(&self, request: Request<QueryRouteRequest>) -> Result<Response<QueryRouteResponse>, Status> {
        let now = self.clock.monotonic();
        let routes = self.routes();
        let groups = routes.route(now, &request.get_ref().topic).iter().map(wire::group_route).collect();
        let brokers_known = u32::try_from(routes.brokers(now).count()).expect("bounded by its setting");
        Ok(Response::new(QueryRouteResponse { groups, brokers_known }))
    }

    async fn list_brokers(&self, _: Request<ListBrokersRequest>) -> Result<Response<ListBrokersResponse>, Status> {
        let now = self.clock.monotonic();
        let routes = self.routes();
        let brokers = routes.brokers(now).map(|known| tercet_proto::nameserver::v1::KnownBroker {
            broker: Some(wire::broker(known.registration)),
            silent_millis: u64::try_from(known.silent.as_millis()).expect("below silent_max"),
        });
        Ok(Response::new(ListBrokersResponse { brokers: brokers.collect() }))
    }
}

/// Counts the brokers when it is asked.
struct BrokersKnown(NameService);

impl fmt::Debug for BrokersKnown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrokersKnown")
    }
}

impl Collector for BrokersKnown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let known = ConstGauge::new(i64::try_from(self.0.brokers_known()).expect("bounded by its setting"));
        let kind = known.metric_type();
        known.encode(encoder.encode_descriptor("tercet_nameserver_brokers", "Brokers in the routes", None, kind)?)
    }
}
