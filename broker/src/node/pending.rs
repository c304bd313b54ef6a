//! Stands in for the RPCs until they are here.
#![expect(missing_docs, dead_code, reason = "goes away")]

use std::{sync::Arc, time::Duration};

use raft_log::{Replica, env::Env, types::GroupId};
use tonic::service::Routes;

use crate::{metrics::Traffic, state::StateReader};

pub struct ServiceOptions {
    pub group: GroupId,
    pub advertised_client: String,
    pub traffic: Traffic,
    pub batch_bytes_max: usize,
    pub receive_bytes_max: usize,
    pub request_bytes_max: usize,
    pub publish_bytes_in_flight_max: usize,
    pub long_poll_max: Duration,
    pub auto_create_group: bool,
}

pub struct Service;

impl Service {
    pub fn start(_: ServiceOptions, _: Replica, _: StateReader, _: Env) -> Arc<Service> {
        Arc::new(Service)
    }

    pub fn routes(&self) -> Routes {
        Routes::default()
    }

    pub fn shutdown(&self) {}
}
